"""Kill a training run again and again, resume it, and compare its result with that of a run left in peace.

Run as a script in a process of its own: `python -m training.killing FOLDER KILLS SEED` prints one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from training import forked, tiny_run

QUICK = {
    "quant__recipe": "plus",
    "train__total_iter": 8,
    "val__val_freq": 4,
    "logger__save_checkpoint_freq": 2,
    "train__ema_decay": 0.5,
}


def result(folder: Path) -> str:
    """Return the SHA-256 of the run's packed file."""
    return hashlib.sha256((folder / "experiments" / "tiny" / "models" / "tiny.safetensors").read_bytes()).hexdigest()


def kill(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill runs with SIGKILL at random moments, and let them go on, until `kills` have hit.

    Returns:
        `wanted`: hash of the undisturbed result; `found`: those of the disturbed; `kills`: how many hit while a
        run was going on; `resumed`: the iterations of the states from which runs went on; `seconds`: of a run.
    """
    import torch

    torch.set_num_threads(1)  # a fork of a process with threads would not get them
    os.chdir(folder)
    tiny_run.write_inputs(folder)
    options = tiny_run.write_options(folder, **QUICK)
    began = time.perf_counter()
    forked.wait(forked.start(options))
    seconds = time.perf_counter() - began
    wanted, found, resumed, hit = result(folder), [], [], 0
    experiment = folder / "experiments" / "tiny"
    generator = random.Random(seed)
    shutil.rmtree(experiment)
    resume = False
    while hit < kills or resume:
        if resume:
            resumed.append(max([-1, *(int(p.stem) for p in experiment.glob("training_states/*.state"))]))
        child = forked.start(options, *(["--auto_resume"] if resume else []))
        if hit < kills:
            time.sleep(generator.uniform(0.3, 1.1) * seconds)
            os.kill(child, signal.SIGKILL)
        resume = forked.wait(child) == -signal.SIGKILL
        if resume:
            hit += 1
            continue
        found.append(result(folder))
        shutil.rmtree(experiment)
    return {"wanted": wanted, "found": found, "kills": hit, "resumed": resumed, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(kill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
