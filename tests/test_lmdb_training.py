"""LMDBs made by `basicsr prepare --lmdb` serve training, with our data set and with BasicSR's."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import Place

from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import read_packed


@pytest.mark.parametrize("kind", ["CompSRTPairedDataset", "PairedImageDataset"])
def test_training_reads_lmdbs(kind: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--hr", "HR", "--scales", "4", "--out", "made", "--lmdb", "--workers", "1"]) == 0
    assert "LMDBs: made/HR.lmdb, made/LR_bicubic_X4.lmdb" in capsys.readouterr().out
    train = place.train["datasets"]["train"]
    train.update(type=kind, dataroot_gt="made/HR.lmdb", dataroot_lq="made/LR_bicubic_X4.lmdb")
    train.update(io_backend={"type": "lmdb"}, batch_size_per_gpu=1, dataset_enlarge_ratio=2)
    place.train["train"]["total_iter"] = 2
    assert place.run("train") == 0
    assert read_packed(Path("experiments/run/models/run.safetensors")).header["provenance"]["bits"] == 3
