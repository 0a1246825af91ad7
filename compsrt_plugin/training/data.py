"""Training patches that depend on their number alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basicsr.data import build_dataloader

from compsrt_plugin.data.draws import DrawnImages, DrawSampler
from compsrt_plugin.data.fingerprint import fingerprint


def numbered_draws(opt: dict[str, Any], loader: Any, iterations: int) -> tuple[Any, DrawSampler]:
    """Return a loader and its sampler that replace BasicSR's for the training data set.

    The image, crop and flips of each patch follow from `manual_seed` and the number of the patch in the run.

    Args:
        opt: BasicSR's parsed options; `resume_iter` is the number of iterations done.
        loader: BasicSR's loader of the training data set.
        iterations: of the whole run.
    """
    batch = loader.batch_size * opt["world_size"]
    sampler = DrawSampler(
        len(loader.dataset),
        opt["manual_seed"],
        first=opt.get("resume_iter", 0) * batch,
        end=iterations * batch,
        rank=opt["rank"],
        processes=opt["world_size"],
    )
    drawn = build_dataloader(
        DrawnImages(loader.dataset),
        opt["datasets"]["train"],
        num_gpu=opt["num_gpu"],
        dist=opt["dist"],
        sampler=sampler,
        seed=opt["manual_seed"],
    )
    return drawn, sampler


def fingerprints(loader: Any, val_loaders: Sequence[Any]) -> dict[str, str]:
    """Return a fingerprint of the images of each data set: key `train`, and the name of each validation set."""
    of_validation = {of.dataset.opt["name"]: fingerprint(of.dataset) for of in val_loaders}
    return {"train": fingerprint(loader.dataset), **of_validation}
