"""Repairs of BasicSR 1.4.2's training pipeline: exact resuming, several processes on CPUs, no lost results."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from compsrt_plugin.basicsr_compat.hooks import train_loader_of
from compsrt_plugin.basicsr_compat.rebind import is_repaired, rebind
from compsrt_plugin.errors import CompSRTError


def apply() -> dict[str, str]:
    """Repair BasicSR's training pipeline, once.

    Returns:
        Repair -> one line for `basicsr doctor`.
    """
    from basicsr import train
    from basicsr.utils import dist_util, misc

    if is_repaired(train.create_train_val_dataloader):
        return {}
    rebind(train.create_train_val_dataloader, _asking_the_model(train.create_train_val_dataloader))
    rebind(dist_util.init_dist, _starting(dist_util.init_dist))
    rebind(misc.mkdir_and_rename, mkdir_and_rename)
    return {
        "draws": "BasicSR restarts its epoch when it resumes: model classes with train_loader supply their own loader",
        "processes": "BasicSR starts several processes on GPUs only: gloo is used on CPUs",
        "archives": "BasicSR names an archived folder by the second: two in one second get different names",
    }


def _asking_the_model(original: Any) -> Any:
    def create_train_val_dataloader(opt: dict[str, Any], logger: logging.Logger) -> tuple[Any, ...]:
        loader, sampler, val_loaders, epochs, iterations = original(opt, logger)
        train_loader = train_loader_of(opt["model_type"])
        if train_loader is None:
            return loader, sampler, val_loaders, epochs, iterations
        loader, sampler = train_loader(opt, loader, val_loaders, iterations)
        return loader, sampler, val_loaders, 0, iterations  # one epoch, number 0, holds all iterations

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
    """Return the path `PREFIX_TIME`, with the time in seconds, and with a number appended if that path exists."""
    name = f"{prefix}_{time.strftime('%Y%m%d_%H%M%S')}"
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{name}_{number}")
    return path


def mkdir_and_rename(path: str) -> None:
    """Create an empty folder; rename an existing one to `PATH_archived_TIME`, a name that is still free."""
    if Path(path).exists():
        archive = free_name(f"{path}_archived")
        sys.stdout.write(f"Path already exists. Rename it to {archive}\n")  # as BasicSR, which has no logger yet
        Path(path).rename(archive)
    Path(path).mkdir(parents=True)
