"""The option file's `train:` block, checked before the first iteration, since BasicSR's own complaints come late."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.config import tables
from compsrt_plugin.errors import CompSRTError


def checked_train_block(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `train:` that BasicSR's `get_optimizer` and `setup_schedulers` can use.

    A cosine schedule without `periods` has one, of `total_iter`: it ends at `eta_min`, 0 by default.

    Args:
        opt: BasicSR's parsed options.

    Raises:
        CompSRTError: an optimizer or schedule BasicSR does not know, no learning rate, or training patches that
            are not whole windows.
    """
    train = copy.deepcopy(dict(opt["train"]))
    if not int(train["total_iter"]):
        return train
    tables.OPTIMIZER("train.optim_g", train.get("optim_g"))
    tables.scheduler("train.scheduler", train.get("scheduler"))
    tables.EMA_DECAY("train.ema_decay", train.get("ema_decay"))
    schedule = train["scheduler"]
    if schedule["type"] == tables.COSINE:
        schedule.setdefault("periods", [int(train["total_iter"])])
        if sum(schedule["periods"]) < int(train["total_iter"]) - 1:
            raise CompSRTError(
                f"train.scheduler.periods add up to {sum(schedule['periods'])}, total_iter is {train['total_iter']}",
                hint="leave periods out for one period of total_iter",
            )
    side, window = opt["datasets"]["train"]["gt_size"] // opt["scale"], opt["network_g"].get("window_size", 8)
    if side % window:
        raise CompSRTError(
            f"datasets.train.gt_size gives low-resolution patches of {side} pixels",
            allowed=f"multiples of the window, {window} (gt_size: multiples of {window * opt['scale']})",
        )
    return train
