"""Names of bundled networks: found in order, and accepted wherever a packed file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import bundled, weights_file
from compsrt_plugin.packed.open import find_packed


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled files in which two families have x4 at 4 bits."""
    for name in ("compsrt_x4_4bit", "compsrt_x4_2bit", "dat_light_x4_4bit", "dat_light_x4_teacher", "other_x4_4bit"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    monkeypatch.setattr(bundled, "WEIGHTS", tmp_path)
    return tmp_path


def test_the_best_family_comes_first_and_teachers_are_no_packed_networks(weights: Path) -> None:
    assert bundled.bundled_names() == ["dat_light_x4_4bit", "compsrt_x4_2bit", "compsrt_x4_4bit"]
    assert bundled.find_bundled(None, None) == weights / "dat_light_x4_4bit.safetensors"
    assert bundled.find_bundled(4, 2) == weights / "compsrt_x4_2bit.safetensors"


def test_one_that_is_not_bundled_is_refused_with_each_choice_once(weights: Path) -> None:
    with pytest.raises(CompSRTError) as error:
        bundled.find_bundled(2, None)
    assert "no network for x2 at 4 bits" in str(error.value)
    assert "allowed: -s 4 --bits 4, -s 4 --bits 2;" in str(error.value)


def test_a_name_stands_for_its_file_unless_a_path_of_that_name_exists(
    weights: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights / "compsrt_x4_2bit.safetensors"
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    assert find_packed("compsrt_x4_2bit") == weights_file("compsrt_x4_2bit") == file
    assert find_packed("compsrt_x4_9bit") == Path("compsrt_x4_9bit")
    Path("compsrt_x4_2bit").write_bytes(file.read_bytes())
    assert weights_file("compsrt_x4_2bit", expected="a file") == Path("compsrt_x4_2bit")
