"""Loading of training states: BasicSR 1.4.2 needs a GPU for it and runs code that a file holds; this does neither."""

from __future__ import annotations

import io
import logging
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.basicsr_compat.hooks import train_loader_of
from compsrt_plugin.basicsr_compat.rebind import rebind
from compsrt_plugin.errors import CompSRTError

FOLDERS = ("experiments_root", "models", "training_states", "log", "visualization")


def apply() -> dict[str, str]:
    """Replace `basicsr.train.load_resume_state`, once.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr import train

    if train.load_resume_state is load_resume_state:
        return {}
    rebind(train.load_resume_state, load_resume_state)
    return {"resume": "BasicSR resumes on GPUs only: states load on any device, and only data is read"}


def state_files(folder: Path) -> list[Path]:
    """Return the training states in a folder, oldest first."""
    return sorted((p for p in folder.glob("*.state") if p.stem.isdigit()), key=lambda p: int(p.stem))


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Load the training state named by `path.resume_state`, or the newest undamaged one if `auto_resume` is set.

    Args:
        opt: BasicSR's parsed options; `path` is updated as BasicSR's `check_resume` does.

    Returns:
        The state (`epoch`, `iter`, `optimizers`, `schedulers`, …) on the device of this process, or None.

    Raises:
        CompSRTError: the file is missing, damaged, or holds more than tensors and plain values. If all states are
            damaged, the error names the newest.
    """
    from basicsr.utils import check_resume

    found = state_files(Path(opt["path"]["training_states"])) if opt["auto_resume"] else []
    if found:
        path, state = _newest_undamaged(found)
        opt["path"]["resume_state"] = str(path)
    elif opt["path"].get("resume_state"):
        state = read_state(Path(opt["path"]["resume_state"]))
    else:
        return None
    for key in FOLDERS:  # a run that resumes from another run's state may have none yet
        if opt["path"].get(key) and opt.get("rank", 0) == 0:
            Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)
    if state.get("self_contained"):  # the state holds the network, so BasicSR needs no second file
        opt["resume_iter"] = state["iter"]
        _check_model_type(opt)
    else:
        check_resume(opt, state["iter"])
        _check_networks(opt)
    return state


def _check_model_type(opt: Mapping[str, Any]) -> None:
    """Raise CompSRTError if the state holds its network and the model class cannot resume from such a state."""
    if train_loader_of(opt["model_type"]) is None:
        raise CompSRTError(
            f"path.resume_state: {opt['path']['resume_state']} is not of a {opt['model_type']}",
            hint="resume with the option file it was started with, or start again without --auto_resume",
        )


def _check_networks(opt: Mapping[str, Any]) -> None:
    """Raise CompSRTError if a network file that BasicSR saved beside the state is missing."""
    for key, path in opt["path"].items():
        own = key.startswith("pretrain_network") and path and Path(path).parent == Path(opt["path"]["models"])
        if own and not Path(path).is_file():
            raise CompSRTError(
                f"path.resume_state: {opt['path']['resume_state']} needs {path}, which is not there",
                hint="resume from another state, or start again without --auto_resume",
            )


def _newest_undamaged(found: list[Path]) -> tuple[Path, dict[str, Any]]:
    """Read the newest state that is not damaged; return its path and content."""
    newest: CompSRTError | None = None
    for path in reversed(found):
        try:
            state = read_state(path)
        except CompSRTError as error:
            newest = newest or error
            continue
        if newest is not None:
            # not get_root_logger(), whose first call configures BasicSR's logger
            logging.getLogger("basicsr").warning("%s; resuming from the state before it, %s", newest, path)
        return path, state
    assert newest is not None
    raise CompSRTError(f"{newest}, nor can any before it", hint="start again without --auto_resume") from newest


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state onto the device of this process.

    Raises:
        CompSRTError: the file is missing, damaged, or holds more than tensors and plain values.
    """
    import torch

    key = f"path.resume_state: {path}"
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else "cpu"
    try:
        content = io.BytesIO(path.read_bytes())
        _check_sums(content)
        state = torch.load(content, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CompSRTError(f"path.resume_state: no such file {path}") from error
    except pickle.UnpicklingError as error:
        raise CompSRTError(
            f"{key} holds more than tensors and plain values, and is not loaded",
            hint="resume from a state that this command wrote",
        ) from error
    except Exception as error:  # torch and zipfile raise errors of many types
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CompSRTError(f"{key} cannot be read ({reason})") from error
    if not isinstance(state, Mapping) or not isinstance(state.get("iter"), int):
        raise CompSRTError(f"{key} is not a training state", hint="it has no key 'iter'")
    return dict(state)


def _check_sums(content: io.BytesIO) -> None:
    """Raise ValueError if torch.save did not write the file, or a checksum is wrong, which torch ignores."""
    if not zipfile.is_zipfile(content):
        raise ValueError("it is damaged")
    with zipfile.ZipFile(content) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    content.seek(0)
