"""Find the data sets on which all networks are compared."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from compsrt_plugin import register
from compsrt_plugin.compare.settings import installed_options
from compsrt_plugin.compare.sources import Source
from compsrt_plugin.data.names import ImageNames
from compsrt_plugin.data.roots import MissingDataError
from compsrt_plugin.errors import CompSRTError, unknown_name

Blocks = Mapping[str, Mapping[str, Any]]
"""Name of a data set -> its options."""
Sets = dict[str, Any]
"""Name of a data set -> BasicSR data set: `len`, items with `lq`, `gt`, `lq_path`, `gt_path`."""


def find_sets(sources: Sequence[Source], scale: int, wanted: Sequence[str]) -> Sets:
    """Return the data sets: those of the option files, else those of the installed option file for this scale.

    If a result folder is compared, only its data sets are used. Several option files must refer to the same images.

    Args:
        sources: the sources to compare.
        scale: upscaling factor.
        wanted: names of required data sets. If empty, every data set that is found on this machine is used.

    Raises:
        CompSRTError: a data set is unknown or missing, there is none, or option files refer to different images.
    """
    register()
    from compsrt_plugin.data.basicsr_sets import check_basicsr_sets

    given = [source for source in sources if source.data_sets is not None]
    options = [(source.name, source.data_sets) for source in given] or [("", installed_options(scale)["datasets"])]
    blocks = [(name, _by_name(cast(Blocks, data_sets), scale)) for name, data_sets in options]
    first, known = blocks[0]
    judged = [source.results.datasets for source in sources if source.results is not None]
    names = list(wanted) or [name for name in known if all(name in datasets for datasets in judged)]
    for name in names:
        if name not in known:
            raise unknown_name("data set", name, known)
    check_basicsr_sets({"datasets": {known[name]["phase"]: known[name] for name in names}, "scale": scale}, ours=True)
    sets = {name: made for name in names if (made := _make(known[name], needed=bool(wanted))) is not None}
    if not sets and not judged:
        raise CompSRTError(
            "none of the data sets is on this machine",
            hint="--data FOLDER is the common root of Set5/HR, Set5/LR_bicubic/X4, …",
        )
    for other, theirs in blocks[1:]:
        for name in sets:
            _must_be_the_same(name, first, known[name], sets[name], other, theirs.get(name))
        for name in () if wanted else theirs:
            if name not in known and _make(theirs[name], needed=False) is not None:
                raise CompSRTError(f"{other} has data set {name}, {first} has not", hint="choose with --sets NAME …")
    return sets


def names_of(dataset: Any) -> list[str]:
    """Return the names of the images of a data set, as in results."""
    names = ImageNames(dataset)
    pairs = getattr(dataset, "paths", None) or _items(dataset)
    return [names.of(pair["gt_path"]) for pair in pairs]


def _by_name(blocks: Blocks, scale: int) -> dict[str, dict[str, Any]]:
    named = {}
    for phase, block in blocks.items():
        named[block["name"]] = {**block, "phase": phase, "scale": scale}
    return named


def _make(block: Mapping[str, Any], needed: bool) -> Dataset[Any] | None:
    """Return a data set, or None if it is not on this machine and not `needed`."""
    from basicsr.utils.registry import DATASET_REGISTRY

    ours = block["type"] == "CompSRTPairedDataset"
    options = {**block, "phase": block["phase"].split("_")[0], **({"strict_data": True} if ours else {})}
    try:
        return DATASET_REGISTRY.get(block["type"])(copy.deepcopy(options))
    except MissingDataError:
        if needed:
            raise
        return None


def _must_be_the_same(
    name: str, first: str, block: Mapping[str, Any], made: Any, other: str, theirs: Mapping[str, Any] | None
) -> None:
    """Raise CompSRTError if another option file has a data set of this name with different images."""
    if theirs is None:
        raise CompSRTError(f"{first} has data set {name}, {other} has not", hint="choose with --sets NAME …")
    if dict(theirs, phase="") == dict(block, phase=""):
        return
    second = _make(theirs, needed=True)
    found, expected = names_of(second), names_of(made)
    same = found == expected and all(
        torch.equal(mine[key], others[key])
        for mine, others in zip(_items(made), _items(second))
        for key in ("lq", "gt")
    )
    if not same:
        what = "other images" if found == expected else f"{len(found)} images, not the same {len(expected)}"
        raise CompSRTError(
            f"data set {name} of {other} has {what} than that of {first}",
            allowed="the same images in all",
            hint="give both option files one dataroot_gt and dataroot_lq",
        )


def _items(dataset: Any) -> Any:
    return (dataset[index] for index in range(len(dataset)))
