"""Kernels that are missing are told once, with what that costs and how to get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin import native


@pytest.mark.parametrize("content", [None, b"\x7fELF nothing"], ids=["not built", "damaged"])
def test_missing_kernels_are_one_warning(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "_kernels.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(native, "compiled", lambda *_: None if content is None else path)
    assert native.library.__wrapped__() is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "calibration takes 1.6 times as long" in record.message and "C++ compiler" in record.message


@pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")
def test_the_level_in_use_is_one_of_those_there_are() -> None:
    assert native.level() in native.LEVELS
