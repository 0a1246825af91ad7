"""Kill a training run again and again, resume it, and compare its result with that of a run left in peace.

Run as a script in a process of its own: `python -m models.killing FOLDER KILLS SEED` prints one JSON object.
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

from models import tiny_run

QUICK = {"train__total_iter": 12, "val__val_freq": 4, "logger__save_checkpoint_freq": 3, "train__ema_decay": 0.5}


def start(options: Path, resume: bool) -> int:
    """Fork a run and return its process id: forking spares each run the seconds that imports take."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        quiet = os.open("run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        from compsrt_plugin.cli import main

        code = main(["train", "-opt", str(options), *(["--auto_resume"] if resume else [])])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


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
    _, status = os.waitpid(start(options, resume=False), 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(Path("run.log").read_text()[-2000:])
    wanted, found, resumed, hit = result(folder), [], [], 0
    experiment = folder / "experiments" / "tiny"
    generator = random.Random(seed)
    shutil.rmtree(experiment)
    resume = False
    while hit < kills or resume:
        if resume:
            resumed.append(max([-1, *(int(p.stem) for p in experiment.glob("training_states/*.state"))]))
        child = start(options, resume)
        if hit < kills:
            time.sleep(generator.uniform(0.1, seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        resume = os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        if resume:
            hit += 1
            continue
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(Path("run.log").read_text()[-2000:])
        found.append(result(folder))
        shutil.rmtree(experiment)
    return {"wanted": wanted, "found": found, "kills": hit, "resumed": resumed, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(kill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
