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


def run(folder: Path, processes: int) -> Path:
    name = f"of{processes}"
    options = tiny_run.write_options(
        folder,
        name=name,
        datasets__train__batch_size_per_gpu=4 // processes,
        datasets__val__subset=None,  # six pictures to share
        train__total_iter=3,
        val__val_freq=3,
        distill={"feature_weight": 5.0, "relative_lr": True},
        train__optim_g__lr=1e-4,
    )
    launch = [sys.executable, "-m"]
    if processes > 1:
        launch += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command = [*launch, "compsrt_plugin", "train", "-opt", str(options)]
    command += ["--launcher", "pytorch"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COMPSRT_CACHE": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "experiments" / name


def test_two_processes_end_where_one_does(tmp_path: Path):
    tiny_run.write_inputs(tmp_path)
    one, two = run(tmp_path, 1), run(tmp_path, 2)
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
