"""The calls of docs/many_machines.md make the images of one machine, on Dask and on Spark where they are installed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from small_networks import save, small_network

from compsrt_plugin.cli.main import main
from compsrt_plugin.cluster import UpscaleFiles, pending

from .images import write_images

COLUMNS = {"source": str, "target": str, "status": str, "message": str, "megapixels": float}


@pytest.fixture
def packed(tmp_path: Path) -> str:
    return str(save(tmp_path / "small.safetensors", small_network()))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images, and a file that is none."""
    folder = write_images(tmp_path / "in", 3)
    (folder / "broken.png").write_text("no image")
    return folder


def check(rows: dict[str, tuple[str, str]], images: Path, packed: str, out: Path) -> None:
    assert rows.pop("broken.png")[0] == "failed" and rows == dict.fromkeys(("0.png", "1.png", "2.png"), ("made", ""))
    same = out.with_name("same")
    assert main(["upscale", str(images), "-o", str(same), "--model", packed]) == 1
    for name in rows:
        assert (out / name).read_bytes() == (same / name).read_bytes()
    assert len(pending([str(images)], UpscaleFiles(out, model=packed))[0]) == 1  # the broken one


def test_dask(images: Path, packed: str, tmp_path: Path) -> None:
    frames = pytest.importorskip("dask.dataframe")
    import pandas

    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    frame = frames.from_pandas(pandas.DataFrame(rows), npartitions=2)
    made = frame.map_partitions(worker, meta=COLUMNS).compute(scheduler="processes", num_workers=2)
    found = {Path(row.source).name: (row.status, row.message) for row in made.itertuples()}
    check(found, images, packed, tmp_path / "out")


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
def test_spark(images: Path, packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    worker = UpscaleFiles(tmp_path / "out", model=packed)
    rows, _ = pending([str(images)], worker)
    session = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        frame = session.createDataFrame([sql.Row(**row) for row in rows]).repartition(2)
        schema = "source string, target string, status string, message string, megapixels double"
        made = frame.mapInPandas(lambda batches: map(worker, batches), schema).collect()
    finally:
        session.stop()
    check({Path(row.source).name: (row.status, row.message) for row in made}, images, packed, tmp_path / "out")
