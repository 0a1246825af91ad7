"""The options of a run as its packed file stores them: resolved, and without the folders of the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

ADDED_BY_BASICSR = {"is_train", "dist", "rank", "world_size", "auto_resume", "resume_iter", "root_path", "pictures"}
ADDED_TO_PATHS = {"experiments_root", "models", "training_states", "log", "visualization", "resume_state"}
ADDED_TO_DATASETS = {"phase", "scale"}


def option_text(opt: Mapping[str, Any]) -> str:
    """Return the options of a run as YAML, including the changes made by the command line and our checks.

    Keys that BasicSR adds are left out. Absolute paths are cut to their last part, which identifies images or weights
    without disclosing where they are stored.

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
    """Convert to YAML's types and cut absolute paths to their last part."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike) or (isinstance(value, str) and os.path.isabs(os.path.expanduser(value))):
        return os.path.basename(os.path.normpath(value))
    return value
