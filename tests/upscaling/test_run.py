"""A run goes on where it stopped, survives bad files, and never leaves half a result."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from compsrt_plugin.files import UnwritableError
from compsrt_plugin.inference import Tile
from compsrt_plugin.upscaling import run as run_module
from compsrt_plugin.upscaling.jobs import list_jobs
from compsrt_plugin.upscaling.network import OpenNetwork
from compsrt_plugin.upscaling.reading import read_picture
from compsrt_plugin.upscaling.run import Summary, run_jobs


def repeat(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


NETWORK = OpenNetwork(repeat, Path("network"), "sha256", scale=2, bits=3, window=8, engine=False)


def go(pictures: Path, network: OpenNetwork = NETWORK, **how) -> Summary:
    out = pictures.parent / "out"
    return run_jobs(list_jobs([str(pictures)], out).jobs, out, network, **how)


def counts(summary: Summary) -> tuple[int, int, int]:
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
    assert read_picture(pictures.parent / "out" / "a.png").size == (18, 22)


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
    assert "aa.png is not a picture" in err and "ab.png is damaged" in err
    assert summary.text().endswith(", 2 failed")


def test_memory_that_does_not_suffice_fails_one_picture_alone(pictures: Path):
    def greedy(x: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    summary = go(pictures, replace(NETWORK, run=greedy))
    assert counts(summary) == (0, 0, 3) and "--tile" in summary.failures[0]


def test_a_bug_is_not_taken_for_a_bad_file(pictures: Path):
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        go(pictures, replace(NETWORK, run=broken))


def test_a_full_disk_ends_the_run(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise UnwritableError("cannot write: no space")

    monkeypatch.setattr(run_module, "write_whole", full)
    with pytest.raises(UnwritableError):
        go(pictures)


def test_sources_are_left_as_they_are(pictures: Path):
    before = {p: p.read_bytes() for p in pictures.iterdir()}
    go(pictures)
    assert {p: p.read_bytes() for p in pictures.iterdir()} == before
