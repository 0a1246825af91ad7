"""What BasicSR 1.4.2's pipelines need to lose no results, to resume exactly and to start several processes on CPUs."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from compsrt_plugin.errors import CompSRTError


def apply(rebind: Any) -> dict[str, str]:
    """Put the repairs into BasicSR, once.

    Args:
        rebind: `compat`'s function (original, repaired) that replaces one in every module that imported it.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr import train
    from basicsr.utils import dist_util, misc

    if getattr(train.create_train_val_dataloader, "repaired", False):
        return {}
    rebind(train.create_train_val_dataloader, _drawing(train.create_train_val_dataloader))
    rebind(dist_util.init_dist, _starting(dist_util.init_dist))
    rebind(misc.mkdir_and_rename, mkdir_and_rename)
    return {
        "draws": "BasicSR starts its epoch over when it resumes: our models' patches follow from their number",
        "processes": "BasicSR starts several processes on GPUs only: gloo is taken on CPUs",
        "archives": "BasicSR names an earlier folder by the second: of two in one second each gets its own name",
    }


def _drawing(original: Any) -> Any:
    def create_train_val_dataloader(opt: dict[str, Any], logger: logging.Logger) -> tuple[Any, ...]:
        loader, sampler, val_loaders, epochs, iterations = original(opt, logger)
        from basicsr.data import build_dataloader
        from basicsr.utils.registry import MODEL_REGISTRY

        from compsrt_plugin.data.draws import DrawnPictures, DrawSampler
        from compsrt_plugin.data.fingerprint import fingerprint

        model = MODEL_REGISTRY.get(opt["model_type"])
        if not hasattr(model, "prepare_pictures"):  # neither ours nor derived from ours
            return loader, sampler, val_loaders, epochs, iterations
        opt["pictures"] = {
            "train": fingerprint(loader.dataset),
            **{of.dataset.opt["name"]: fingerprint(of.dataset) for of in val_loaders},
        }
        model.prepare_pictures(opt, loader.dataset)
        batch = loader.batch_size * opt["world_size"]
        sampler = DrawSampler(
            len(loader.dataset),
            opt["manual_seed"],
            first=opt.get("resume_iter", 0) * batch,
            end=iterations * batch,
            rank=opt["rank"],
            processes=opt["world_size"],
        )
        loader = build_dataloader(
            DrawnPictures(loader.dataset),
            opt["datasets"]["train"],
            num_gpu=opt["num_gpu"],
            dist=opt["dist"],
            sampler=sampler,
            seed=opt["manual_seed"],
        )
        return loader, sampler, val_loaders, 0, iterations  # one epoch, number 0, holds all iterations

    create_train_val_dataloader.repaired = True  # pyright: ignore[reportFunctionMemberAccess]
    return create_train_val_dataloader


def _starting(original: Any) -> Any:
    def init_dist(launcher: str, backend: str = "nccl", **kwargs: Any) -> None:
        import torch

        if torch.cuda.is_available():
            original(launcher, backend, **kwargs)
            return
        if launcher != "pytorch":
            raise CompSRTError(
                f"--launcher {launcher} needs GPUs", hint="on CPUs start with torchrun and --launcher pytorch"
            )
        if torch.multiprocessing.get_start_method(allow_none=True) is None:
            torch.multiprocessing.set_start_method("spawn")
        torch.distributed.init_process_group(backend="gloo")

    return init_dist


def free_name(prefix: str) -> Path:
    """Return `PREFIX_TIME` to the second, or with a number behind it if that is there already."""
    name = f"{prefix}_{time.strftime('%Y%m%d_%H%M%S')}"
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}_{number}")
    return path


def mkdir_and_rename(path: str) -> None:
    """Make an empty folder; one that is there already becomes `PATH_archived_TIME`, which is never another's."""
    if Path(path).exists():
        archive = free_name(f"{path}_archived")
        sys.stdout.write(f"Path already exists. Rename it to {archive}\n")  # as BasicSR, which has no logger by then
        Path(path).rename(archive)
    Path(path).mkdir(parents=True)
