from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from compsrt_plugin.cli import prepare
from compsrt_plugin.errors import CompSRTError

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT.parent / "shared" / "data" / "benchmark"


@pytest.fixture
def hr(tmp_path) -> Path:
    folder = tmp_path / "hr"
    folder.mkdir()
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 256, (50, 49 + number, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"p{number}.png"), picture)
    return folder


def prepared(*words: object) -> int:
    parser = argparse.ArgumentParser(prog="basicsr prepare")
    prepare.add_arguments(parser)
    return prepare.run(parser.parse_args([str(word) for word in words]))


def made(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


@pytest.mark.skipif(not BENCHMARK.is_dir(), reason="needs the project's shared images")
def test_set5_comes_out_bit_equal_to_the_benchmark_at_every_scale(tmp_path):
    assert prepared("--hr", BENCHMARK / "Set5" / "HR", "--scales", 2, 3, 4, "--out", tmp_path) == 0
    assert len(made(tmp_path)) == 15
    for path in made(tmp_path):
        assert np.array_equal(cv2.imread(str(tmp_path / path)), cv2.imread(str(BENCHMARK / "Set5" / path))), path


def test_the_command_works_with_several_processes_in_its_own_program(hr, tmp_path):
    words = ["prepare", "--hr", hr, "--scales", 2, 4, "--out", tmp_path / "out", "--workers", 2]
    done = subprocess.run(
        [sys.executable, "-m", "compsrt_plugin", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 HR images: 6 images made, 0 already there" in done.stdout
    assert made(tmp_path / "out") == [f"LR_bicubic/X{s}/p{n}x{s}.png" for s in (2, 4) for n in range(3)]


def test_a_second_run_makes_nothing(hr, tmp_path, capsys):
    for expected in ("3 images made, 0 already there", "0 images made, 3 already there"):
        assert prepared("--hr", hr, "--scales", 4, "--out", tmp_path) == 0
        assert expected in capsys.readouterr().out


def test_lmdb_makes_databases_and_the_pictures_in_them(hr, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepared("--hr", hr, "--scales", 2, 4, "--out", out, "--lmdb") == 0
    assert sorted(p.name for p in out.glob("*.lmdb")) == ["HR.lmdb", "LR_bicubic_X2.lmdb", "LR_bicubic_X4.lmdb"]
    assert made(out)[:3] == ["HR/p0.png", "HR/p1.png", "HR/p2.png"]
    assert cv2.imread(str(out / "HR" / "p0.png")).shape == (48, 48, 3)
    assert "HR.lmdb" in capsys.readouterr().out


def test_a_bad_picture_is_named_the_rest_is_made_and_the_exit_code_is_2(hr, tmp_path, capsys):
    (hr / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    assert prepared("--hr", hr, "--scales", 4, "--out", out, "--lmdb") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert str(hr / "bad.png") in errors[0]
    assert errors[1] == "basicsr prepare: 1 of 4 failed; no LMDB made"
    assert len(made(out)) == 6
    assert not list(out.glob("*.lmdb"))


def test_it_refuses_to_overwrite_the_hr_pictures_by_cropped_ones(tmp_path, hr):
    own = hr.rename(tmp_path / "HR")
    before = [p.read_bytes() for p in sorted(own.iterdir())]
    for flag in ("--hr-copy", "--lmdb"):
        with pytest.raises(CompSRTError, match="would overwrite the images"):
            prepared("--hr", own, "--scales", 4, "--out", tmp_path, flag)
    assert prepared("--hr", own, "--scales", 4, "--out", tmp_path) == 0
    assert [p.read_bytes() for p in sorted(own.iterdir())] == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scales", 1], "--scales has 1; allowed: 2 to 8"),
        (["--scales", 4, "--workers", 0], "--workers is 0; allowed: integers 1 to 256"),
        (["--scales", 4, "--hr", "nowhere"], "cannot read the image folder nowhere"),
        (["--scales", 4, "--out", os.devnull], "cannot write /dev/null/LR_bicubic"),
    ],
)
def test_wrong_arguments_are_one_line_and_nothing_is_written(hr, tmp_path, words, said):
    with pytest.raises(CompSRTError, match=said):
        prepared("--hr", hr, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_lmdb_key_can_be_is_refused_before_anything_is_made(hr, tmp_path):
    (hr / "p0.png").rename(hr / "p0.old.png")
    with pytest.raises(CompSRTError, match=r"'p0\.old' cannot be a key"):
        prepared("--hr", hr, "--scales", 4, "--out", tmp_path / "out", "--lmdb")
    assert not (tmp_path / "out").exists()


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit) as end:
        prepared("--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "basicsr prepare --hr datasets/Set5/HR --scales 2 3 4 --out datasets/Set5" in text
    assert "dataroot_lq: datasets/DF2K/LR_bicubic_X4.lmdb" in text
