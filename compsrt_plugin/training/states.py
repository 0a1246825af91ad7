"""Training states on disk: written atomically; only the newest are kept."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compsrt_plugin.basicsr_compat.resume import state_files
from compsrt_plugin.files import atomic_file

KEPT = 2  # one more than needed, in case the newest is damaged on disk


def write_state(folder: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Write `ITERATION.state`, then remove all but the newest `KEPT` states up to it.

    Later states belong to an abandoned run: this run resumed from an earlier state.

    Args:
        folder: `experiments/NAME/training_states`.
        iteration: number of iterations done.
        state: tensors and plain values only, so that `torch.load` reads it with `weights_only`.

    Returns:
        The path of the file.

    Raises:
        CompSRTError: the disk is full or refuses; earlier states are unchanged.
    """
    path = folder / f"{iteration}.state"
    content = io.BytesIO()
    torch.save(state, content)  # in memory: torch would report a full disk by an error of its own
    with atomic_file(path, hint="free some space and resume with --auto_resume: the last good state is kept") as file:
        file.write(content.getbuffer())
    found = state_files(folder)
    place = found.index(path) + 1
    for other in [*found[: max(0, place - KEPT)], *found[place:]]:
        other.unlink(missing_ok=True)
    for left_over in folder.glob(".part-*"):  # from a process that was killed while it wrote
        left_over.unlink(missing_ok=True)
    return path


def random_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators as plain values and tensors."""
    name, keys, *rest = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_states(state: dict[str, Any]) -> None:
    """Set the generators to what `random_states` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
