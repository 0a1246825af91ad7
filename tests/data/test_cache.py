from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from sample_pictures import random_picture, save

from compsrt_plugin.data.cache import cached_lr
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.resize import downscale, mod_crop
from compsrt_plugin.errors import CompSRTError


def times(*folders: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for folder in folders for p in folder.iterdir()}


def test_an_hr_folder_becomes_matching_pairs(cache, hr_folder):
    hr_dir, lr_dir = cached_lr(hr_folder, 4)
    assert cache in hr_dir.parents
    for path in hr_folder.iterdir():
        hr, lr = cv2.imread(str(hr_dir / path.name)), cv2.imread(str(lr_dir / f"{path.stem}x4.png"))
        assert np.array_equal(hr, mod_crop(cv2.imread(str(path)), 4))
        assert np.array_equal(lr, downscale(hr, 4))


def test_a_picture_that_need_not_be_cropped_is_linked_not_copied(cache, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = cv2.GaussianBlur(random_picture(48, 64), (5, 5), 0)
    assert cv2.imwrite(str(folder / "whole.jpg"), photo) and cv2.imwrite(str(folder / "odd.jpg"), photo[:47])
    hr_dir, _ = cached_lr(folder, 4)
    assert (hr_dir / "whole.png").resolve() == folder / "whole.jpg"
    assert not (hr_dir / "odd.png").is_symlink()
    assert np.array_equal(read_image(hr_dir / "whole.png"), read_image(folder / "whole.jpg"))
    assert read_image(hr_dir / "odd.png").shape == (44, 64, 3)


def test_where_links_cannot_be_made_it_is_copied(cache, hr_folder, monkeypatch):
    monkeypatch.setattr(Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    hr_dir, _ = cached_lr(hr_folder, 4)
    assert len(list(hr_dir.iterdir())) == 3 and not any(path.is_symlink() for path in hr_dir.iterdir())


def test_it_is_said_once_where_they_are_how_large_and_that_they_may_go(cache, hr_folder, basicsr_log):
    basicsr_log.set_level("INFO", logger="basicsr")
    for _ in range(2):
        hr_dir, _ = cached_lr(hr_folder, 4)
    (record,) = basicsr_log.records
    assert f"MB in {hr_dir.parent}, which may be deleted at any time" in record.getMessage()


def test_the_second_time_nothing_is_made(cache, hr_folder):
    folders = cached_lr(hr_folder, 4)
    before = times(*folders)
    assert cached_lr(str(hr_folder), 4) == folders
    assert times(*folders) == before


def test_a_damaged_cache_is_repaired(cache, hr_folder):
    hr_dir, lr_dir = cached_lr(hr_folder, 4)
    (hr_dir / "ant.png").unlink()
    (lr_dir / "beex4.png").write_bytes(b"half")
    assert cached_lr(hr_folder, 4) == (hr_dir, lr_dir)
    assert cv2.imread(str(hr_dir / "ant.png")) is not None
    assert cv2.imread(str(lr_dir / "beex4.png")) is not None


def test_a_changed_folder_gets_a_copy_of_its_own(cache, hr_folder):
    before = cached_lr(hr_folder, 4)
    save(hr_folder / "dog.png", random_picture(40, 40))
    after = cached_lr(hr_folder, 4)
    assert (len(times(before[0])), len(times(after[0]))) == (3, 4)


def test_scales_do_not_mix(cache, hr_folder):
    assert cached_lr(hr_folder, 2) != cached_lr(hr_folder, 3)


def test_a_picture_that_cannot_be_used_is_named(cache, hr_folder):
    (hr_folder / "bad.png").touch()
    with pytest.raises(CompSRTError, match=r"bad\.png is empty"):
        cached_lr(hr_folder, 4)


def test_processes_that_start_together_all_find_whole_pairs(cache, hr_folder):
    for seed in range(20):
        save(hr_folder / f"more{seed}.png", random_picture(60, 60, seed))
    code = (
        "import sys, cv2; from pathlib import Path; from compsrt_plugin.data.cache import cached_lr\n"
        "for d in cached_lr(sys.argv[1], 4):\n"
        "    files = sorted(Path(d).glob('[!.]*'))\n"
        "    assert len(files) == 23 and all(cv2.imread(str(f)) is not None for f in files), files\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    started = [subprocess.Popen([sys.executable, "-c", code, str(hr_folder)], env=env) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
