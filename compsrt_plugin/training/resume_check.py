"""The check that a run may resume from a training state: which options may differ, and which may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.option_text import ADDED_TO_DATASETS, ADDED_TO_PATHS, plain

# These keys have no influence on the result, or a better check exists: fingerprints of images, the SHA-256 of files.
FREE = {
    "datasets": (
        *("dataroot_gt", "dataroot_lq", "meta_info_file", "embedded", "filename_tmpl", "subset", "strict_data"),
        *("io_backend", "num_worker_per_gpu", "prefetch_mode", "num_prefetch_queue", "pin_memory"),
        *("persistent_workers", "keep_in_memory", "dataset_enlarge_ratio", "batch_size_per_gpu", *ADDED_TO_DATASETS),
    ),
    "path": ("pretrain_network_g", "pretrain_network_teacher", "ignore_resume_networks", *ADDED_TO_PATHS),
    "val": ("save_img", "suffix", "pbar"),
}
# These keys may change: the new value applies from the state's iteration on and is recorded in the result.
CHANGEABLE = ("train.total_iter", "train.scheduler.periods", "train.scheduler.restart_weights", "val.val_freq")
AHEAD = ("train.scheduler.milestones", "train.scheduler.restarts")  # entries beyond the state's iteration may change
Change = dict[str, Any]
"""`iteration` of the state, `key`, and its value before (`was`) and afterwards (`is`)."""


def settings(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the result depends on, without the blocks that `Task.identity` covers.

    Args:
        opt: BasicSR's parsed options, checked; `pictures` holds the fingerprints of the data sets.
    """
    processes = opt["world_size"] if opt["dist"] else max(1, opt["num_gpu"])
    return {
        "scale": opt["scale"],
        "manual_seed": opt["manual_seed"],
        "tile": plain(opt.get("tile")),
        "images a batch": opt["datasets"]["train"]["batch_size_per_gpu"] * processes,
        "pictures": dict(opt.get("pictures") or {}),
        "train": plain(opt["train"]),
        "datasets": {phase: plain(_without(dataset, FREE["datasets"])) for phase, dataset in opt["datasets"].items()},
        "val": None if opt.get("val") is None else plain(_without(opt["val"], FREE["val"])),
        "path": plain(_without(opt["path"], FREE["path"])),
    }


def changes(state: Mapping[str, Any], ours: Mapping[str, Any], source: str) -> list[Change]:
    """Return the changes of options since a state was written, all of them allowed.

    Args:
        state: a training state with the keys `iter` and `identity`, a mapping like `ours`.
        ours: the identity of the run that resumes.
        source: the state's file, for messages.

    Raises:
        CompSRTError: an option has changed that must not change; the message names the first one.
    """
    hint, done = "resume with the option file it was started with, or start again without --auto_resume", state["iter"]
    theirs = state.get("identity")
    if not isinstance(theirs, Mapping) or "train" not in theirs:
        raise CompSRTError(f"{source} is the state of another model, or of an earlier version", hint=hint)
    found = []
    for key, was, now in sorted(_differences(theirs, ours), key=lambda difference: difference[0]):
        if key == "teacher" or key == "start" or key.startswith("pictures"):
            what = key if "." not in key else f"set of images in datasets.{key.split('.', 1)[1]}"
            raise CompSRTError(f"{source} was written with another {what}", hint=hint)
        if key not in CHANGEABLE and not (key in AHEAD and _so_far(was, done) == _so_far(now, done)):
            raise CompSRTError(f"{source} was written with {key} {was!r}, now it is {now!r}", hint=hint)
        found.append({"iteration": done, "key": key, "was": was, "is": now})
    total = int(ours["train"]["total_iter"])
    if total < done:
        raise CompSRTError(f"{source} is of iteration {done}, train.total_iter is {total}", hint=hint)
    return found


def _without(block: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in keys}


def _so_far(points: Any, done: int) -> list[Any]:
    return [point for point in points or [] if point < done]  # an entry at `done` takes effect after it


def _differences(theirs: Any, ours: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, theirs, ours) for each difference of two nested mappings; a missing key counts as None."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            yield from _differences(theirs.get(name), ours.get(name), f"{key}.{name}".lstrip("."))
    elif theirs != ours:
        yield key, theirs, ours
