"""Images of the page: exact where they say so, and small enough."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from compsrt_plugin.compare.gather import Gathering
from compsrt_plugin.compare.settings import Settings
from compsrt_plugin.compare.visuals import _LOSSLESS_QUALITY, CROP, STEP, STEPS, Sights, error_map, sights
from compsrt_plugin.data.images import write_image

from .test_differences import entry

SIDE, COUNT = 160, 4


def gathered(folder: Path, originals: bool = True, saved: int = 2) -> Gathering:
    """Two entries on four images; the second differs from the first by more in every image that follows."""
    rng = np.random.default_rng(0)
    entries = [entry(name, {"X": [30.0] * COUNT}) for name in "ab"]
    keys = [("X", f"{index}.png") for index in range(COUNT)]
    files = {}
    for index, key in enumerate(keys):
        original = rng.integers(0, 200, (SIDE, SIDE, 3), np.uint8)
        second = original.copy()
        second[40:80, 60:100] += np.uint8(10 * (index + 1))
        for name, picture in zip(("original", "a", "b"), (original, original, second)):
            files[name, key] = folder / f"{name}{index}.png"
            write_image(files[name, key], picture)
        for one in entries[:saved]:
            one.images[key] = files[one.name, key]
    found = {key: files["original", key] for key in keys} if originals else {}
    return Gathering(entries, Settings(4, "reflect", {}), found, keys)


def opened(content: bytes | None) -> np.ndarray:
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def size(found: Sights) -> int:
    return sum(sight.size for sight in found.shown.values())


def test_pictures_lose_nothing_where_there_is_room(tmp_path: Path) -> None:
    given = gathered(tmp_path)
    found = sights(given)
    assert len(found.shown) == COUNT and not found.left_out and not found.unseen
    for key, sight in found.shown.items():
        assert sight.quality == _LOSSLESS_QUALITY
        files = [given.originals[key], *(one.images[key] for one in given.entries)]
        for file, content in zip(files, sight.whole):
            np.testing.assert_array_equal(opened(content), np.asarray(Image.open(file)))


def test_a_crop_is_where_the_entries_differ_and_loses_nothing(tmp_path: Path) -> None:
    given = gathered(tmp_path)
    for key, sight in sights(given).shown.items():
        left, top, width, height = sight.details.box
        assert (width, height) == (CROP, CROP)
        assert left <= 60 and left + width >= 100 and top <= 40 and top + height >= 80
        whole = np.asarray(Image.open(given.entries[1].images[key]))
        np.testing.assert_array_equal(opened(sight.details.crops[2]), whole[top : top + CROP, left : left + CROP])


def test_a_smaller_page_loses_quality_first_and_pictures_after_that(tmp_path: Path) -> None:
    given = gathered(tmp_path)
    most = size(sights(given))
    lossy = sights(given, budget=most - 1)
    assert len(lossy.shown) == COUNT and {sight.quality for sight in lossy.shown.values()} == {95}
    few = sights(given, budget=most // 4)
    assert 0 < len(few.shown) < COUNT and size(few) <= most // 4
    # those in which the entries differ least go
    assert few.left_out == given.keys[: COUNT - len(few.shown)]
    assert {sight.quality for sight in few.shown.values()} == {90}
    assert not sights(given, budget=10).shown


def test_without_originals_there_are_no_error_maps(tmp_path: Path) -> None:
    found = sights(gathered(tmp_path, originals=False))
    for sight in found.shown.values():
        assert sight.whole[0] is None and sight.details.errors == [None, None, None]
        assert sight.whole[1] is not None and sight.details.crops[0] is None


def test_one_entry_with_pictures_is_held_against_the_original(tmp_path: Path) -> None:
    found = sights(gathered(tmp_path, saved=1))
    assert len(found.shown) == COUNT
    alone = sights(gathered(tmp_path, originals=False, saved=1))
    assert not alone.shown and len(alone.unseen) == COUNT


def test_an_error_map_counts_steps_of_luma() -> None:
    grey = np.repeat(np.arange(0, 200, dtype=np.uint8).reshape(1, 200, 1), 3, axis=2)
    found = error_map(grey, np.zeros_like(grey))[0]
    # Y of BasicSR runs from 16 to 235: a grey level is 219/255 of a level of Y
    np.testing.assert_array_equal(found, np.minimum(np.arange(200) * 219 / 255 // STEP, STEPS - 1))


def test_an_error_map_is_stored_with_its_grey_levels(tmp_path: Path) -> None:
    given = gathered(tmp_path)
    key = given.keys[-1]
    details = sights(given).shown[key].details
    assert opened(details.errors[1]).max() == 0  # the first entry is the original
    levels = opened(details.errors[2])
    made, original = (
        np.asarray(Image.open(f))[..., ::-1] for f in (given.entries[1].images[key], given.originals[key])
    )
    np.testing.assert_array_equal(levels[..., 0], error_map(made, original) * 17)
