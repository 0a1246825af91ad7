"""A library that is missing or of another version is not used, and reported once with its cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin import native
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import loading, structures

needs_library = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")


@pytest.mark.parametrize("content", [None, b"\x7fELF nothing"], ids=["not built", "damaged"])
def test_a_missing_library_is_one_warning(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "_native.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(loading, "compiled", lambda *_: None if content is None else path)
    monkeypatch.setattr(loading, "library", loading.library.__wrapped__)
    assert not loading._warned_or_built.__wrapped__()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "calibration takes 1.6 times as long" in record.message and "C++ compiler" in record.message


@needs_library
def test_a_library_whose_structures_have_other_fields_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Conv(structures.Conv.__base__):
        _fields_ = tuple(reversed(structures.Conv._fields_))

    class Block(structures.Block.__base__):
        _fields_ = tuple((f"{name}_" if name == "hidden" else name, kind) for name, kind in structures.Block._fields_)

    for other in (Conv, Block):  # fields at other places, and another field of the same kind
        shared = tuple(other if kind.__name__ == other.__name__ else kind for kind in structures.SHARED)
        with monkeypatch.context() as patch:
            patch.setattr(structures, "SHARED", shared)
            assert loading.library.__wrapped__() is None
    assert loading.library.__wrapped__() is not None


@needs_library
def test_levels_are_listed_best_first_and_plain_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [level.name for level in native.levels()]
    assert names[-1] == "plain" and len(set(names)) == len(names)
    monkeypatch.delenv(native.LEVEL_VARIABLE, raising=False)
    assert native.level() == native.levels()[0]
    monkeypatch.setenv(native.LEVEL_VARIABLE, "plain")
    assert native.level().name == "plain" and not native.level().sum_bits
    monkeypatch.setenv(native.LEVEL_VARIABLE, "avx1024")
    with pytest.raises(CompSRTError, match=r"avx1024.*plain"):
        native.level()
