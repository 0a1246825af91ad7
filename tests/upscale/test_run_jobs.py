"""A run goes on where it stopped, survives bad files, and never leaves half a result."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from compsrt_plugin.data.formats.png import Chunk
from compsrt_plugin.files import UnwritableError
from compsrt_plugin.inference import Tile
from compsrt_plugin.upscale import one_image
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.jobs import list_jobs
from compsrt_plugin.upscale.open_network import OpenNetwork
from compsrt_plugin.upscale.reading import decode_image
from compsrt_plugin.upscale.run_jobs import UpscaleSummary, run_jobs
from compsrt_plugin.upscale.writing import encode_image


def repeat(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


NETWORK = OpenNetwork(repeat, Path("network"), "sha256", scale=2, bits=3, window=8, engine=False)


def go(pictures: Path, network: OpenNetwork = NETWORK, **how) -> UpscaleSummary:
    out = pictures.parent / "out"
    return run_jobs(list_jobs([str(pictures)], out).jobs, out, network, **how)


def counts(summary: UpscaleSummary) -> tuple[int, int, int]:
    return summary.made, summary.skipped, len(summary.failures)


def test_all_are_made_once(pictures: Path):
    first, again = go(pictures), go(pictures)
    assert counts(first) == (3, 0, 0) and counts(again) == (0, 3, 0)
    assert first.megapixels == pytest.approx(3 * 9 * 11 * 4 / 1e6) and first.rate > 0
    assert sorted(p.name for p in (pictures.parent / "out").glob("[!.]*")) == ["a.png", "b.jpg", "c.webp"]


@pytest.mark.parametrize(
    "change",
    [
        lambda source, target: os.utime(source, (1, 1)),
        lambda source, target: target.unlink(),
        lambda source, target: target.write_bytes(target.read_bytes()[:-1]),
    ],
    ids=["source changed", "result gone", "result cut short"],
)
def test_what_is_no_longer_right_is_made_again(pictures: Path, change):
    go(pictures)
    change(pictures / "a.png", pictures.parent / "out" / "a.png")
    assert counts(go(pictures)) == (1, 2, 0)
    assert decode_image(pictures.parent / "out" / "a.png").size == (18, 22)


def test_another_network_or_tile_makes_all_again(pictures: Path):
    go(pictures)
    assert counts(go(pictures, replace(NETWORK, sha256="other"))) == (3, 0, 0)
    assert counts(go(pictures, replace(NETWORK, sha256="other"), tile=Tile(64, 8))) == (3, 0, 0)
    assert counts(go(pictures, replace(NETWORK, sha256="other"), tile=Tile(64, 8))) == (0, 3, 0)


def test_a_run_that_is_stopped_goes_on(pictures: Path):
    calls = []

    def stops(x: Tensor) -> Tensor:
        calls.append(x)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return repeat(x)

    with pytest.raises(KeyboardInterrupt):
        go(pictures, replace(NETWORK, run=stops))
    out = pictures.parent / "out"
    assert [p.name for p in out.glob("[!.]*")] == ["a.png"] and not list(out.glob(".part*"))
    assert counts(go(pictures)) == (2, 1, 0)


def test_bad_files_are_named_and_do_not_end_the_rest(pictures: Path, capsys: pytest.CaptureFixture[str]):
    (pictures / "aa.png").write_bytes(b"no picture")
    (pictures / "ab.png").write_bytes((pictures / "a.png").read_bytes()[:-30])
    summary = go(pictures)
    assert counts(summary) == (3, 0, 2)
    err = capsys.readouterr().err
    assert "aa.png is not an image" in err and "ab.png is damaged" in err
    assert summary.text().endswith(", 2 failed")


def test_what_is_left_out_of_a_picture_is_said_once_and_the_picture_is_made(pictures: Path, capsys):
    tagged = DecodedImage(np.zeros((4, 4, 3), np.uint8), colour_chunks=(Chunk(b"cICP", bytes([9, 16, 0, 1])),))
    (pictures / "a.png").write_bytes(encode_image(tagged, "PNG"))
    out = pictures.parent / "out"
    for suffix, notes in ((".png", 0), (".tif", 1)):
        summary = run_jobs(list_jobs([str(pictures / "a.png")], out, suffix).jobs, out, NETWORK)
        assert counts(summary) == (1, 0, 0)
        err = capsys.readouterr().err
        assert err.count("a.png: no ICC profile can express its colour chunks: cICP left out") == notes


def test_memory_that_does_not_suffice_fails_one_picture_alone(pictures: Path):
    def greedy(x: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    summary = go(pictures, replace(NETWORK, run=greedy))
    assert counts(summary) == (0, 0, 3) and "--tile" in summary.failures[0]


def test_a_fault_of_ours_ends_one_picture_and_is_named_as_ours(pictures: Path):
    calls = []

    def broken_once(x: Tensor) -> Tensor:
        calls.append(x)
        if len(calls) == 1:
            raise RuntimeError("shapes do not\nmatch")
        return repeat(x)

    summary = go(pictures, replace(NETWORK, run=broken_once))
    assert counts(summary) == (2, 0, 1)
    assert "a.png: not made, by a bug of this program: RuntimeError: shapes do not match (" in summary.failures[0]


@pytest.mark.parametrize("step", ["decode_image", "enlarge", "encode_image", "check_fits", "write_place"])
@pytest.mark.parametrize("error", [KeyError(".jfif"), OSError(5, "Input/output error"), AssertionError(), ValueError])
def test_nothing_that_one_picture_does_ends_the_run(pictures: Path, monkeypatch: pytest.MonkeyPatch, step, error):
    real, calls = getattr(one_image, step), []

    def fails_once(*args, **how):
        calls.append(args)
        if len(calls) == 2:
            raise error
        return real(*args, **how)

    monkeypatch.setattr(one_image, step, fails_once)
    summary = go(pictures)
    assert counts(summary) == (2, 0, 1) and "b.jpg: not made" in summary.failures[0]
    assert counts(go(pictures)) == (1, 2, 0)


def test_a_full_disk_ends_the_run(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    real, calls = os.replace, []

    def full(part: str, target: str) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(part, target)

    monkeypatch.setattr("compsrt_plugin.files.os.replace", full)
    with pytest.raises(UnwritableError, match=r"cannot write .*b\.jpg: No space left on device"):
        go(pictures)
    assert [p.name for p in (pictures.parent / "out").iterdir() if p.name != ".compsrt_made.jsonl"] == ["a.png"]
    assert counts(go(pictures)) == (2, 1, 0)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EFBIG, errno.EILSEQ])
def test_a_name_or_size_that_the_disk_does_not_take_fails_one_picture_alone(pictures: Path, monkeypatch, number: int):
    real = os.replace

    def picky(part: str, target: Path) -> None:
        if Path(target).name == "b.jpg":
            raise OSError(number, os.strerror(number))
        real(part, target)

    monkeypatch.setattr("compsrt_plugin.files.os.replace", picky)
    summary = go(pictures)
    assert counts(summary) == (2, 0, 1) and os.strerror(number) in summary.failures[0]


def test_a_result_larger_than_the_memory_is_refused_before_it_is_begun(pictures: Path, monkeypatch):
    monkeypatch.setattr(one_image, "free_memory", lambda _: 9 * 11 * 4 * (12 + 3) - 1)
    summary = go(pictures, replace(NETWORK, run=lambda x: pytest.fail("begun")))
    assert counts(summary) == (0, 0, 3) and "22 x 18 pixels, takes 0.0 GiB of memory" in summary.failures[0]
    monkeypatch.setattr(one_image, "free_memory", lambda _: 9 * 11 * 4 * (12 + 3))
    assert counts(go(pictures)) == (3, 0, 0)


def test_links_that_lead_nowhere_and_pipes_are_named_and_the_rest_is_made(pictures: Path):
    (pictures / "d.png").symlink_to("none.png")
    (pictures / "e.png").symlink_to("e.png")
    os.mkfifo(pictures / "f.png")
    (pictures / "g.png").mkdir()
    summary = go(pictures)
    assert counts(summary) == (3, 0, 3)
    for name, says in (("d.png", "No such file"), ("e.png", "symbolic links"), ("f.png", "not a regular file")):
        assert any(name in line and says in line for line in summary.failures), (name, summary.failures)


def test_sources_are_left_as_they_are(pictures: Path):
    before = {p: p.read_bytes() for p in pictures.iterdir()}
    go(pictures)
    assert {p: p.read_bytes() for p in pictures.iterdir()} == before
