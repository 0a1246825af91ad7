"""Two processes with half the batch each end where one process ends, and write the same results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from torch import Tensor

from compsrt_plugin.packed import read_packed

from . import tiny_run


def options(folder: Path, name: str, processes: int = 1, iterations: int = 3) -> Path:
    written = tiny_run.write_options(
        folder,
        name=name,
        datasets__train__batch_size_per_gpu=4 // processes,
        datasets__val__subset=None,  # six pictures to share
        train__total_iter=iterations,
        val__val_freq=3,
    )
    return written.rename(folder / f"{name}.yml")


def moved(one: dict[str, Tensor], other: dict[str, Tensor]) -> tuple[int, float]:
    """Return how many codes of two results differ, and the sum of what all other values differ by."""
    assert one.keys() == other.keys()
    codes = sum(int((one[name] != other[name]).sum()) for name in one if name.endswith("weight_codes"))
    return codes, sum(float((one[name] - other[name]).abs().sum()) for name in one if one[name].is_floating_point())


def test_two_processes_end_where_one_does(tmp_path: Path):
    tiny_run.write_inputs(tmp_path)
    written = [options(tmp_path, "start", iterations=0), options(tmp_path, "one"), options(tmp_path, "two", 2)]
    command = [sys.executable, "-m", "training.forked", str(tmp_path), *map(str, written)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COMPSRT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folders = [tmp_path / "experiments" / path.stem for path in written]
    start, one, two = (read_packed(folder / "models" / f"{folder.name}.safetensors") for folder in folders)
    assert [file.header["provenance"]["chosen"]["iteration"] for file in (one, two)] == [3, 3]  # not where both began
    apart, way = moved(one.state, two.state), moved(one.state, start.state)
    # Gradients are added in another order, and Adam enlarges that where they are nearly zero: 1.4 and 1.1 % of the way.
    assert all(difference < 0.05 * length for difference, length in zip(apart, way)), (apart, way)
    reports = [json.loads((folder / "results.json").read_text()) for folder in folders[1:]]
    for name, scores in reports[0]["datasets"].items():
        assert list(scores["per_image"]) == list(reports[1]["datasets"][name]["per_image"])
        psnr = [report["datasets"][name]["quantized"]["psnr"] for report in reports]
        assert abs(psnr[0] - psnr[1]) < 0.02
