"""A data set's fingerprint tells which images it has, wherever they lie."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sample_pictures import random_picture, save

from compsrt_plugin.data.fingerprint import fingerprint


class Listed:
    """A data set of BasicSR's kind: a list of pairs."""

    def __init__(self, folder: Path) -> None:
        self.paths = [{"lq_path": "x", "gt_path": str(path)} for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return len(self.paths)


class Unlisted:
    """A user's own data set."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def test_pictures_that_have_moved_are_the_same(hr_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(hr_folder, tmp_path / "elsewhere")
    assert fingerprint(Listed(hr_folder)) == fingerprint(Listed(tmp_path / "elsewhere"))


def test_each_change_of_a_set_is_told(hr_folder: Path) -> None:
    seen = [fingerprint(Listed(hr_folder))]
    save(hr_folder / "ant.png", random_picture(32, 32, 0))
    seen.append(fingerprint(Listed(hr_folder)))
    (hr_folder / "ant.png").rename(hr_folder / "bat.png")
    seen.append(fingerprint(Listed(hr_folder)))
    (hr_folder / "bat.png").unlink()
    seen.append(fingerprint(Listed(hr_folder)))
    assert len(set(seen)) == 4


def test_keys_of_a_database_and_data_sets_without_a_list_have_one_too() -> None:
    database: Any = Unlisted(2)
    database.paths = [{"lq_path": "a", "gt_path": "a"}, {"lq_path": "b", "gt_path": "b"}]
    assert fingerprint(database) != fingerprint(Unlisted(2)) != fingerprint(Unlisted(3))
