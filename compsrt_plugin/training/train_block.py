"""Validation of the option file's `train:` block before the first iteration: BasicSR reports errors late."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.config.train_blocks import CompSRTTrain
from compsrt_plugin.config.typed import fields_of
from compsrt_plugin.errors import CompSRTError


def checked_train_block(opt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `train:` that BasicSR's `get_optimizer` and `setup_schedulers` can use.

    A cosine schedule without `periods` gets one period of `total_iter`, which ends at `eta_min`, by default 0.

    Args:
        opt: BasicSR's parsed options.

    Raises:
        CompSRTError: an optimizer or schedule that BasicSR does not know, no learning rate, or a patch size that is
            not a multiple of the window.
    """
    train = copy.deepcopy(dict(opt["train"]))
    if not int(train["total_iter"]):
        return train
    CompSRTTrain.from_dict({name: train[name] for name in fields_of(CompSRTTrain) if name in train})
    schedule = train["scheduler"]
    if schedule["type"] == "CosineAnnealingRestartLR":
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
