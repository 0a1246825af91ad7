"""What a training state must have in common with the run that goes on from it, and what may have changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.option_text import ADDED_TO_DATASETS, ADDED_TO_PATHS, plain

# Of no influence on a single number, or held by something better: the pictures themselves, a file's SHA-256.
FREE = {
    "datasets": (
        *("dataroot_gt", "dataroot_lq", "meta_info_file", "embedded", "filename_tmpl", "subset", "strict_data"),
        *("io_backend", "num_worker_per_gpu", "prefetch_mode", "num_prefetch_queue", "pin_memory"),
        *("persistent_workers", "keep_in_memory", "dataset_enlarge_ratio", "batch_size_per_gpu", *ADDED_TO_DATASETS),
    ),
    "path": ("pretrain_network_g", "pretrain_network_teacher", "ignore_resume_networks", *ADDED_TO_PATHS),
    "val": ("save_img", "suffix", "pbar"),
}
# What makes a run longer, or judges it more often. Applied from the state's iteration on, and told in the result.
CHANGEABLE = ("train.total_iter", "train.scheduler.periods", "train.scheduler.restart_weights", "val.val_freq")
AHEAD = ("train.scheduler.milestones", "train.scheduler.restarts")  # the same for those that lie ahead
Change = dict[str, Any]
"""`iteration` of the state, `key`, and its value before (`was`) and from then on (`is`)."""


def settings(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return all of the options that the result depends on, apart from the model's own blocks.

    Args:
        opt: BasicSR's parsed options, checked; `pictures` tells which pictures there are.
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
    """Return what has changed since a state was written, all of which may change.

    Args:
        state: as `models.resuming` wrote it: `iter`, and `identity`, a mapping like `ours`.
        ours: the same of the run that goes on.
        source: the state's file, for messages.

    Raises:
        CompSRTError: the state was written by a run of another kind; names the first key.
    """
    hint, done = "resume with the option file it was started with, or start anew without --auto_resume", state["iter"]
    theirs = state.get("identity")
    if not isinstance(theirs, Mapping) or "train" not in theirs:
        raise CompSRTError(f"{source} is the state of another model, or of an earlier version", hint=hint)
    found = []
    for key, was, now in sorted(_differences(theirs, ours), key=lambda difference: difference[0]):
        if key == "teacher" or key == "start" or key.startswith("pictures"):
            what = key if "." not in key else f"set of pictures in datasets.{key.split('.', 1)[1]}"
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
    return [point for point in points or [] if point < done]  # one at `done` takes effect after it


def _differences(theirs: Any, ours: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, theirs, ours) wherever two nested mappings differ; a key that is missing is None."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            yield from _differences(theirs.get(name), ours.get(name), f"{key}.{name}".lstrip("."))
    elif theirs != ours:
        yield key, theirs, ours
