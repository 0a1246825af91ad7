"""Trainings of the tiny network in this process, and ways to disturb them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from compsrt_plugin.cli.main import main
from compsrt_plugin.training.trainer import Trainer

from . import tiny_run


class Killed(BaseException):
    """What stands in for SIGKILL in a test that runs in this process: nothing of ours catches it."""


def train(folder: Path, *flags: str, **changes: Any) -> int:
    """Run `basicsr train` with the tiny run's options and these changes."""
    return main(["train", "-opt", str(tiny_run.write_options(folder, **changes)), *flags])


def packed(folder: Path) -> Path:
    return folder / "experiments" / "tiny" / "models" / "tiny.safetensors"


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "experiments" / "tiny" / "training_states").iterdir())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def disturbed(iteration: int, by: int | None = None) -> Iterator[None]:
    """Within, a run gets a signal in the middle of an iteration, or is killed there; the end of it is awaited."""
    step = Trainer.step

    def disturb(self: Trainer, *args: Any) -> dict[str, float]:
        if self.iteration + 1 == iteration:
            if by is None:
                raise Killed
            os.kill(os.getpid(), by)
        return step(self, *args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "step", disturb)
        with pytest.raises(Killed if by is None else SystemExit) as end:
            yield
    assert by is None or end.value.code == 128 + by
