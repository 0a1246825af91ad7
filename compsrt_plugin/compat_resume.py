"""The training state that a run goes on from: BasicSR 1.4.2 needs a GPU to read one, and runs code it finds in it."""

from __future__ import annotations

import io
import logging
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError

FOLDERS = ("experiments_root", "models", "training_states", "log", "visualization")


def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
    """Load the training state named by `path.resume_state`, or the newest sound one if `auto_resume` is set.

    Args:
        opt: BasicSR's parsed options; `path` is updated as BasicSR does (`check_resume`).

    Returns:
        The state (`epoch`, `iter`, `optimizers`, `schedulers`, …) on the device of this process, or None.

    Raises:
        CompSRTError: the file is missing, damaged, or holds more than tensors and plain values; of several
            states that are all damaged, the newest.
    """
    from basicsr.utils import check_resume

    from compsrt_plugin.models.state import states

    found = states(Path(opt["path"]["training_states"])) if opt["auto_resume"] else []
    if found:
        path, state = _newest_sound(found)
        opt["path"]["resume_state"] = str(path)
    elif opt["path"].get("resume_state"):
        state = read_state(Path(opt["path"]["resume_state"]))
    else:
        return None
    for key in FOLDERS:  # of a run that goes on from another's state there may be none
        if opt["path"].get(key) and opt.get("rank", 0) == 0:
            Path(opt["path"][key]).mkdir(parents=True, exist_ok=True)
    if state.get("self_contained"):  # no second file holds the network, so BasicSR need not be told of one
        opt["resume_iter"] = state["iter"]
        _check_ours(opt)
    else:
        check_resume(opt, state["iter"])
        _check_networks(opt)
    return state


def _check_ours(opt: Mapping[str, Any]) -> None:
    """Raise CompSRTError if a model of another kind is to go on from a state of ours."""
    from basicsr.utils.registry import MODEL_REGISTRY

    if not hasattr(MODEL_REGISTRY.get(opt["model_type"]), "prepare_pictures"):
        raise CompSRTError(
            f"path.resume_state: {opt['path']['resume_state']} is not of a {opt['model_type']}",
            hint="resume with the option file it was started with, or start anew without --auto_resume",
        )


def _check_networks(opt: Mapping[str, Any]) -> None:
    """Raise CompSRTError if a network is missing that BasicSR saved beside the state."""
    for key, path in opt["path"].items():
        own = key.startswith("pretrain_network") and path and Path(path).parent == Path(opt["path"]["models"])
        if own and not Path(path).is_file():
            raise CompSRTError(
                f"path.resume_state: {opt['path']['resume_state']} needs {path}, which is not there",
                hint="resume from another state, or start anew without --auto_resume",
            )


def _newest_sound(found: list[Path]) -> tuple[Path, dict[str, Any]]:
    """Read the newest state that can be read; an older one is kept for the case that the newest is damaged."""
    newest: CompSRTError | None = None
    for path in reversed(found):
        try:
            state = read_state(path)
        except CompSRTError as error:
            newest = newest or error
            continue
        if newest is not None:
            # not get_root_logger(): its first call would decide about BasicSR's log file
            logging.getLogger("basicsr").warning("%s; going on from the state before it, %s", newest, path)
        return path, state
    assert newest is not None
    raise CompSRTError(f"{newest}, nor can any before it", hint="start anew without --auto_resume") from newest


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
            f"{key} holds more than tensors and plain values, and is not run",
            hint="resume from a state that this command wrote",
        ) from error
    except Exception as error:  # torch and zipfile raise whatever they stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CompSRTError(f"{key} cannot be read ({reason})") from error
    if not isinstance(state, Mapping) or not isinstance(state.get("iter"), int):
        raise CompSRTError(f"{key} is not a training state", hint="it has no key 'iter'")
    return dict(state)


def _check_sums(content: io.BytesIO) -> None:
    """Raise ValueError for what torch.save has not written, or whose checksums are wrong: torch reads on over those."""
    if not zipfile.is_zipfile(content):
        raise ValueError("it is damaged")
    with zipfile.ZipFile(content) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} is wrong")
    content.seek(0)
