"""Two processes with half the batch each end where one process ends, and write the same results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from compsrt_plugin.checkpoint import read_packed

from . import tiny_run


def options(folder: Path, processes: int) -> Path:
    written = tiny_run.write_options(
        folder,
        name=f"of{processes}",
        datasets__train__batch_size_per_gpu=4 // processes,
        datasets__val__subset=None,  # six pictures to share
        train__total_iter=3,
        val__val_freq=3,
        distill={"relative_lr": True},
        train__optim_g__lr=1e-4,
    )
    return written.rename(folder / f"of{processes}.yml")


def test_two_processes_end_where_one_does(tmp_path: Path):
    tiny_run.write_inputs(tmp_path)
    command = [sys.executable, "-m", "models.forked", str(tmp_path), *(str(options(tmp_path, n)) for n in (1, 2))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COMPSRT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (tmp_path / "experiments" / name for name in ("of1", "of2"))
    alone, shared = (read_packed(f / "models" / f"{f.name}.safetensors").state for f in (one, two))
    assert alone.keys() == shared.keys()
    different = sum(int((alone[name] != shared[name]).sum()) for name in alone if name.endswith("weight_codes"))
    assert different <= 20, "codes on the edge may fall to either side"
    for name in alone:
        if alone[name].is_floating_point():
            torch.testing.assert_close(shared[name], alone[name], rtol=1e-2, atol=1e-4)
    reports = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    for name, scores in reports[0]["datasets"].items():
        assert list(scores["per_image"]) == list(reports[1]["datasets"][name]["per_image"])
        psnr = [report["datasets"][name]["quantized"]["psnr"] for report in reports]
        assert abs(psnr[0] - psnr[1]) < 0.02
