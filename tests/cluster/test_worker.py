"""`UpscaleFiles` makes what a batch names, wherever it is sent; `pending` lists what is still to do."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_networks import save, small_network

from compsrt_plugin.cli.main import main
from compsrt_plugin.cluster import UpscaleFiles, pending
from compsrt_plugin.errors import CompSRTError

from .images import write_images


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save(tmp_path_factory.mktemp("network") / "small.safetensors", small_network()))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "in", 3)


def batch_of(rows: list[dict[str, str]]) -> dict[str, list[str]]:
    return {name: [row[name] for row in rows] for name in ("source", "target")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def test_a_batch_becomes_what_the_command_makes(images: Path, packed: str, tmp_path: Path) -> None:
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, there = pending([str(images)], worker)
    assert [Path(row["target"]).name for row in rows] == ["0.png", "1.png", "2.png"] and there == 0
    made = worker(batch_of(rows))
    assert made["status"] == ["made"] * 3 and made["message"] == [""] * 3 and made["source"] == batch_of(rows)["source"]
    assert main(["upscale", str(images), "-o", str(tmp_path / "same"), "--model", packed]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "same")


def test_what_is_there_is_pending_no_more_for_the_command_either(
    images: Path, packed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    worker(batch_of(rows[:2]))
    assert pending([str(images)], worker) == (rows[2:], 2)
    assert main(["upscale", str(images), "-o", str(tmp_path / "out"), "--model", packed]) == 0
    assert "1 made" in (said := capsys.readouterr().out) and "2 already there" in said


def test_a_damaged_image_is_a_row_and_not_the_end(images: Path, packed: str, tmp_path: Path) -> None:
    (images / "1.png").write_bytes(b"no image")
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    (images / "2.png").unlink()  # gone since it was listed
    made = worker(batch_of(rows))
    assert made["status"] == ["made", "failed", "failed"]
    assert "1.png is not an image" in made["message"][1] and "cannot read the image" in made["message"][2]
    assert sorted(contents(tmp_path / "out")) == ["0.png"]


def test_it_can_be_sent_to_another_process_after_it_was_used(images: Path, packed: str, tmp_path: Path) -> None:
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    batch = batch_of(pending([str(images)], worker)[0])
    worker({name: column[:1] for name, column in batch.items()})
    code = "import pickle, sys; worker, batch = pickle.load(sys.stdin.buffer); print(worker(batch)['status'])"
    sent = pickle.dumps((worker, {name: column[1:] for name, column in batch.items()}))
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=False)
    assert done.stdout.decode().strip() == "['made', 'made']", done.stderr.decode()
    assert len(contents(tmp_path / "out")) == 3


def test_a_data_frame_comes_back_as_one(images: Path, packed: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    made = worker(pandas.DataFrame(rows))
    assert isinstance(made, pandas.DataFrame)
    assert list(made.columns) == ["source", "target", "status", "message", "megapixels"] and len(made) == 3


def test_a_format_may_be_chosen(images: Path, packed: str, tmp_path: Path) -> None:
    rows, _ = pending([str(images)], UpscaleFiles(tmp_path / "out", model=packed), image_format="webp")
    assert {Path(row["target"]).suffix for row in rows} == {".webp"}


def test_a_full_disk_ends_the_work(images: Path, packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*names: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CompSRTError, match="No space left on device"):
        worker(batch_of(rows))


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(CompSRTError, match="out is large; allowed: an absolute path"):
        UpscaleFiles("large")
