"""Check BasicSR's own data sets before a run starts. Without this, they fail with a traceback hours later."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from compsrt_plugin.data.checks import check_files, check_pairs, crop_side, smallest_lr, visible_files
from compsrt_plugin.data.databases import check_databases
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.roots import no_originals
from compsrt_plugin.errors import CompSRTError, unknown_name

BACKENDS = ("disk", "lmdb", "memcached")
# data sets of (LR, HR) pairs -> key of their image list
LISTS = {"PairedImageDataset": "meta_info_file", "RealESRGANPairedDataset": "meta_info"}
SINGLE = "SingleImageDataset"


def check_basicsr_sets(options: Mapping[str, Any], *, ours: bool) -> None:
    """Check the data sets of an option file that are BasicSR's own. Ours check themselves when they are made.

    Args:
        options: options of a train or test, with their layout checked.
        ours: whether the model is one of this package's, which need pairs of images.

    Raises:
        CompSRTError: folders, lists, databases or images cannot be used, or there are no originals.
    """
    metrics = (options.get("val") or {}).get("metrics") or {}
    for phase, given in options["datasets"].items():
        key, kind = f"datasets.{phase}", DATASET_REGISTRY.get(given["type"])
        dataset = {**given, "scale": options["scale"], "phase": phase.split("_")[0]}
        basicsrs = kind.__module__.split(".")[0] == "basicsr"
        paired = kind.__name__ in LISTS or getattr(kind, "finds_its_folders", False)
        needs_originals = dataset["phase"] != "train" and (paired or (kind.__name__ == SINGLE and (ours or metrics)))
        lr_alone = dataset.get("dataroot_gt") is None and (basicsrs or dataset.get("dataroot_lq") is not None)
        if needs_originals and kind.__name__ == SINGLE and dataset.get("dataroot_gt") is not None:
            raise CompSRTError(
                f"{key}.type {SINGLE} reads no originals", allowed=f"CompSRTPairedDataset, {', '.join(LISTS)}"
            )
        if needs_originals and lr_alone:
            raise no_originals(f"data set {dataset['name']}", dataset.get("dataroot_lq"))
        if not basicsrs:
            continue
        if ours and not paired:
            allowed = f"CompSRTPairedDataset, {', '.join(LISTS)}"
            raise CompSRTError(f"{key}.type {kind.__name__} does not provide pairs of images", allowed=allowed)
        backend = _check_places(key, kind.__name__, dataset)
        if paired:
            ssim = any(metric.get("type") == "calculate_ssim" for metric in metrics.values())
            _check_pairs(kind.__name__, dataset, backend, judged=ours or ssim)
        elif backend == "lmdb":
            for name, folder in _roots(dataset).items():
                check_databases({name: Path(folder).expanduser()}, f"data set {dataset['name']}")
        elif kind.__name__ == SINGLE and dataset.get("meta_info_file") is None:
            for file in visible_files(Path(dataset["dataroot_lq"]).expanduser()).values():
                read_image(file)


def _roots(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {name: folder for name, folder in dataset.items() if name.startswith("dataroot") and folder is not None}


def _check_places(key: str, kind: str, dataset: Mapping[str, Any]) -> str:
    """Return the backend type of one data set, after checking its folders, lists and `io_backend`."""
    roots = _roots(dataset)
    needed = ("dataroot_gt", "dataroot_lq") if kind in LISTS else ("dataroot_lq" if kind == SINGLE else "dataroot_gt",)
    for name in (*needed, *roots):
        if name not in roots:
            raise CompSRTError(f"{key} has no {name}", hint=f"{kind} needs it")
        if not Path(str(roots[name])).expanduser().is_dir():
            raise CompSRTError(f"{key}.{name} {roots[name]} is not a folder", hint="check the path")
    block = dataset.get("io_backend")
    backend = block.get("type") if isinstance(block, Mapping) else None
    if backend not in BACKENDS:
        raise unknown_name(f"{key}.io_backend.type:", str(backend), BACKENDS)
    if backend == "memcached" and importlib.util.find_spec("mc") is None:
        raise CompSRTError(
            f"{key}.io_backend.type is memcached, but its client mc is not installed", allowed="disk, lmdb"
        )
    for name in ("meta_info", "meta_info_file"):
        if dataset.get(name) is not None and backend != "lmdb":
            listed_lines(f"{key}.{name}", dataset[name])
    return str(backend)


def _check_pairs(kind: str, dataset: Mapping[str, Any], backend: str, *, judged: bool) -> None:
    """Check the images of pairs. `judged`: whether SSIM is computed."""
    training, scale = dataset["phase"] == "train", dataset["scale"]
    smallest = crop_side(dataset) if training else smallest_lr(scale) if judged else 1
    limits: dict[str, Any] = {"min_lr": smallest, "exact": training}
    hr, lr = (Path(dataset[name]).expanduser() for name in ("dataroot_gt", "dataroot_lq"))
    listed, template = dataset.get(LISTS[kind]), dataset.get("filename_tmpl") or "{}"
    if backend == "lmdb":
        check_databases({"dataroot_gt": hr, "dataroot_lq": lr}, f"data set {dataset['name']}", scale, **limits)
    elif listed is not None and backend == "disk":
        check_files(_listed_pairs(kind, listed, hr, lr, template), scale, decode=not training, **limits)
    elif backend == "disk":
        check_pairs(hr, lr, scale, template, decode=not training, **limits)


def _listed_pairs(kind: str, listed: str, hr: Path, lr: Path, template: str) -> list[tuple[Path, Path]]:
    """Return the pairs of an image list, like BasicSR."""
    if kind == "PairedImageDataset":
        from basicsr.data.data_util import paired_paths_from_meta_info_file

        pairs = paired_paths_from_meta_info_file([str(lr), str(hr)], ["lq", "gt"], listed, template)
        return [(Path(pair["gt_path"]), Path(pair["lq_path"])) for pair in pairs]
    found = []
    for number, line in enumerate(listed_lines(LISTS[kind], listed), 1):
        names = line.split(", ")
        if len(names) != 2:
            raise CompSRTError(f"{listed}, line {number} is {line!r}", allowed="HR, LR: two names, a comma and a space")
        found.append((hr / names[0], lr / names[1]))
    return found


def listed_lines(key: str, listed: Any) -> Sequence[str]:
    """Return the lines of an image list. CompSRTError if it cannot be read, is empty, or has an empty line."""
    try:
        lines = Path(str(listed)).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CompSRTError(f"{key}: cannot read {listed} ({reason})", hint="check the path") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise CompSRTError(f"{key}: {listed}, line {number} is empty", allowed="the name of an image in each line")
    if not lines:
        raise CompSRTError(f"{key}: {listed} is empty", allowed="the name of an image in each line")
    return [line.strip() for line in lines]
