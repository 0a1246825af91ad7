"""docs/many_machines.md: its command calibrates in two processes, as BasicSR's launcher starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pages
from small_run import small

from compsrt_plugin.packed import read_packed

PAGE = pages.read("docs/many_machines.md")


def test_two_processes_calibrate(inputs: Path) -> None:
    command, *_ = pages.commands(PAGE, "compsrt_plugin")
    launched = next(line.split() for line in PAGE.splitlines() if line.startswith("torchrun --nproc_per_node=2 -m"))
    launcher = launched[1 : launched.index("-m")]
    argv = [sys.executable, "-m", "torch.distributed.run", *launcher, "--standalone", "-m", "compsrt_plugin"]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(pages.ROOT)}
    done = subprocess.run([*argv, *small(command)], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = Path("experiments").glob("*/models/*.safetensors")
    assert "spec" in read_packed(made).header
    (log,) = [path.read_text() for path in Path("experiments").glob("*/train_*.log")]
    assert "Disable distributed" not in done.stdout
    assert "dist: True" in log and "world_size: 2" in log
