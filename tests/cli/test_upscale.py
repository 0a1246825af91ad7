"""`basicsr upscale` gives pixels to those who just want pixels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from small_networks import save, small_network

from compsrt_plugin.cli.main import main
from compsrt_plugin.engine import engine_available
from compsrt_plugin.packed import bundled
from compsrt_plugin.upscale import open_network


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_network, "unsupported_reason", lambda source: "no engine in this test")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "net.safetensors", small_network())
    Path("in").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)).save(f"in/{name}")
    return tmp_path


def test_the_picture_is_that_of_basicsr_test(place, no_engine: None):
    place.test["val"]["save_img"] = True
    assert place.run("test") == 0
    (judged,) = Path("results/run/visualization/Mine").glob("px4*.png")
    assert main(["upscale", str(place.lr), "-o", "large.png", "--model", str(place.files["packed"])]) == 0
    np.testing.assert_array_equal(cv2.imread("large.png"), cv2.imread(str(judged)))


def test_a_folder_and_again(here: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors"]) == 0
    assert re.fullmatch(r"out: 2 made \(0.00 MP, [\d.]+ MP/s\); x4 at 3 bits\n", capsys.readouterr().out)
    assert Image.open("out/a.png").size == (44, 36)
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors"]) == 0
    assert capsys.readouterr().out == "out: 0 made, 2 already there; x4 at 3 bits\n"


def test_a_bad_file_shows_in_the_summary_and_the_exit_code(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("in/a.png").write_bytes(b"")
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors"]) == 1
    out, err = capsys.readouterr()
    assert "1 made" in out and "1 failed" in out
    assert "in/a.png is empty" in err


def test_without_the_engine_that_is_said_once(here: Path, no_engine: None, capsys: pytest.CaptureFixture[str]):
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors"]) == 0
    assert capsys.readouterr().err.count("running the simulated network") == 1


@pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")
def test_a_level_that_does_not_exist_is_a_mistake_and_no_reason_to_go_without_the_engine(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COMPSRT_ENGINE_LEVEL", "avx1024")
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors"]) == 2
    assert "avx1024" in capsys.readouterr().err and not Path("out").exists()


def test_threads_of_the_simulated_network_are_those_that_can_be_started(
    here: Path, no_engine: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(open_network, "startable", lambda threads: 2)
    told: list[int] = []
    monkeypatch.setattr(open_network.torch, "set_num_threads", told.append)
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors", "--threads", "8"]) == 0
    assert told == [2]


SWINIR = ("--network", "compsrt_x4_3bit")  # its windows limit the tiles


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["in", "-o", "in"], "would replace in/a.png"),
        (["none.png", "-o", "out"], "no such file or folder: none.png"),
        (["in", "-o", "out", "--model", "none.safetensors"], "no such file: none.safetensors"),
        (["in", "-o", "out", "--model", "net.safetensors", "-s", "2"], "-s is 2, but net.safetensors has 4"),
        (["in", "-o", "out", "--model", "net.safetensors", "--bits", "2"], "--bits is 2, but net.safetensors has 3"),
        (["in", "-o", "out", "--tile", "0"], "--tile is 0; allowed: 1 or more"),
        (
            ["in", "-o", "out", *SWINIR, "--tile", "8"],
            "--tile is 8; allowed: 16 or more: the network's windows have 8 pixels",
        ),
        (["in", "-o", "out", *SWINIR, "--tile", "15"], "--tile is 15; allowed: 16 or more"),
        (["in/a.png", "-o", "x.bmp"], "-o x.bmp: no .bmp files can be written"),
        (["in", "-o", "out", "-s", "5"], "argument -s/--scale: invalid choice"),
        (["in"], "the following arguments are required: -o"),
    ],
)
def test_a_mistake_is_one_line_and_makes_nothing(here: Path, capsys, argv: list[str], says: str):
    assert main(["upscale", *argv]) == 2
    out, err = capsys.readouterr()
    assert says in err and err.count("\n") == 1 and out == ""
    assert not Path("out").exists()


def test_a_network_that_is_not_bundled_is_told_with_those_that_are(here, monkeypatch, capsys):
    monkeypatch.setattr(bundled, "WEIGHTS", here / "weights")
    (here / "weights").mkdir()
    for name in ("compsrt_x4_3bit", "compsrt_x2_4bit", "swinir_light_x2_teacher"):
        (here / "weights" / f"{name}.safetensors").touch()
    assert main(["upscale", "in", "-o", "out", "-s", "3"]) == 2
    assert capsys.readouterr().err.startswith(
        "basicsr: error: no network for x3 at 4 bits comes with the package; allowed: -s 2 --bits 4, -s 4 --bits 3; "
        "make it with: basicsr train -opt compsrt_x3_4bit.yml, then give --model experiments/compsrt_x3_4bit/models/"
    )


def test_the_best_bundled_network_is_found():
    assert open_network.find_network() == bundled.local_path("dat_light_x4_4bit")
    assert open_network.find_network(4, 2) == bundled.checkpoint_path(4, 2)  # no other family has 2 bits
    assert open_network.find_network(name="compsrt_x2_3bit") == bundled.checkpoint_path(2, 3)


def test_an_unknown_bundled_name_is_refused(capsys: pytest.CaptureFixture[str], here: Path):
    assert main(["upscale", "in", "-o", "out", "--network", "compsrt_x4_5bit"]) == 2
    assert "unknown network 'compsrt_x4_5bit'" in (said := capsys.readouterr().err) and "compsrt_x4_4bit" in said


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]):
    assert main(["upscale", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.count("\n  basicsr upscale ") >= 4 and "torchrun" in text and "exit code: 0" in text


def test_the_smallest_tile_that_is_allowed_works(here: Path):
    assert main(["upscale", "in", "-o", "out", "--model", "net.safetensors", "--tile", "16"]) == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_path_that_stdout_cannot_encode_is_escaped(here: Path, encoding: str):
    name = os.fsdecode(b"\xe2\x82\xac \xff")  # a euro sign, and a byte that is no UTF-8
    command = ["-m", "compsrt_plugin", "upscale", "in/a.png", "-o", name, "--model", "net.safetensors"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, *command], capture_output=True, check=False, timeout=300, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b": 1 made" in done.stdout and Path(name, "a.png").is_file()


def test_processes_share_the_work_and_wait_for_the_last_although_one_has_a_bad_file(here: Path):
    for number in range(3):
        Path(f"in/bad{number}.png").write_bytes(b"bad")
    command = ["-m", "compsrt_plugin", "upscale", "in", "-o", "out", "--model", "net.safetensors"]
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *command]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert done.stdout.startswith("out: 2 made") and ", 3 failed; x4 at 3 bits\n" in done.stdout
    assert {p.name for p in Path("out").glob("[!.]*")} == {"a.png", "b.png"}
    assert Path("out/.compsrt_made.jsonl").read_text().count('"file"') == 2
