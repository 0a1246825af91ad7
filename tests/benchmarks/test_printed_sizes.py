"""Sizes that README and docs print are those of the files."""

from __future__ import annotations

import sys

import pages
import pytest

from compsrt_plugin.packed.bundled import bundled_networks, checkpoint_path

sys.path.insert(0, str(pages.ROOT / "benchmarks"))


def test_the_sizes_on_the_onnx_page_are_what_the_export_writes() -> None:
    pytest.importorskip("onnx")
    import file_sizes

    page = file_sizes.ONNX.read_text(encoding="utf-8")
    assert file_sizes.ONNX_HEADING + file_sizes.onnx_row(2) in page
    for bits in file_sizes.BITS:
        assert f"| {bits} bits | {checkpoint_path(4, bits).stat().st_size:,} |" in page


def test_the_parts_of_a_file_are_those_that_the_report_counts() -> None:
    pytest.importorskip("onnx")
    import file_sizes

    rows = file_sizes.part_rows({3: file_sizes.parts(3)}).splitlines()
    printed = file_sizes.PARTS.read_text(encoding="utf-8").partition(file_sizes.PARTS_HEADING)[2].splitlines()
    for row, line in zip(rows, printed):
        name, cell = row.strip("| ").split(" | ")
        assert line.strip("| ").split(" | ")[::2] == [name, cell]
    assert len(rows) == 7


def test_the_sizes_in_the_readme_are_those_of_the_bundled_files() -> None:
    page = pages.read("README.md")
    networks = [network for network in bundled_networks() if network.scale == 4]
    assert len(networks) == 5
    for network in networks:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{network.name}` |")]
        assert f"| {network.path.stat().st_size:,} |" in line
