"""A run killed by SIGKILL at random moments goes on to the same bits; `benchmarks/kill_test.py` does it fifty times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_three_kills_do_not_change_a_bit_of_the_result(tmp_path: Path):
    command = [sys.executable, "-m", "training.killing", str(tmp_path), "3", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COMPSRT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["kills"] == 3
    assert set(outcome["found"]) == {outcome["wanted"]}
