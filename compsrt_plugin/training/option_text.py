"""The options a network was made with, as a packed file keeps them: resolved, and without this machine's folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

ADDED_BY_BASICSR = {"is_train", "dist", "rank", "world_size", "auto_resume", "resume_iter", "root_path", "pictures"}
ADDED_TO_PATHS = {"experiments_root", "models", "training_states", "log", "visualization", "resume_state"}
ADDED_TO_DATASETS = {"phase", "scale"}


def option_text(opt: Mapping[str, Any]) -> str:
    """Return the options of a run as YAML, with the changes of the command line and of our checks.

    What BasicSR adds for itself is left out. Of a path outside the current folder the last part stays: it tells
    which pictures or weights were meant, and nothing of who keeps them where.

    Args:
        opt: BasicSR's parsed options.
    """
    own = {key: value for key, value in opt.items() if key not in ADDED_BY_BASICSR}
    own["path"] = {key: value for key, value in opt["path"].items() if key not in ADDED_TO_PATHS}
    own["datasets"] = {
        phase: {key: value for key, value in dataset.items() if key not in ADDED_TO_DATASETS}
        for phase, dataset in opt["datasets"].items()
    }
    return yaml.safe_dump(plain(own), sort_keys=False, width=120)


def plain(value: Any) -> Any:
    """Return YAML's own types, with absolute paths cut to their last part."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike) or (isinstance(value, str) and os.path.isabs(os.path.expanduser(value))):
        return os.path.basename(os.path.normpath(value))
    return value
