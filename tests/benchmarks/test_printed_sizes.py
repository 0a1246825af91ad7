"""Sizes that README and docs print are those of the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from compsrt_plugin.bundled import checkpoint_path

ROOT = Path(__file__).resolve().parents[2]


def test_the_sizes_on_the_onnx_page_are_what_the_export_writes():
    pytest.importorskip("onnx")
    spec = importlib.util.spec_from_file_location("onnx_sizes", ROOT / "benchmarks" / "onnx_sizes.py")
    assert spec is not None and spec.loader is not None
    sizes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sizes)
    page = sizes.PAGE.read_text(encoding="utf-8")
    assert sizes.HEADING + sizes.row(2) in page  # the others differ in nothing that could make them wrong alone
    for bits in sizes.BITS:
        assert f"| {bits} bits | {checkpoint_path(4, bits).stat().st_size:,} |" in page


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_sizes_in_the_readme_are_those_of_the_bundled_files(bits: int):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{checkpoint_path(4, bits).stat().st_size:,} bytes" in readme
