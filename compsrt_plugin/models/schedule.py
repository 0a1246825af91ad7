"""The option file's `train:` block, checked before the first iteration, since BasicSR's own complaints come late."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from compsrt_plugin.config.checks import number, optional
from compsrt_plugin.errors import CompSRTError, unknown_name

OPTIMIZERS = ("Adam",)  # those that BasicSR 1.4.2 knows
COSINE = "CosineAnnealingRestartLR"
SCHEDULERS = ("MultiStepLR", "MultiStepRestartLR", COSINE)


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
    for key, known in (("optim_g", OPTIMIZERS), ("scheduler", SCHEDULERS)):
        block = train.get(key)
        if not isinstance(block, Mapping):
            raise CompSRTError(f"train.{key} is {block!r}", allowed="a block with a type", hint="see the train files")
        if block.get("type") not in known:
            raise unknown_name(f"train.{key}.type:", str(block.get("type")), known)
    number(0, above=True)("train.optim_g.lr", train["optim_g"].get("lr"))
    optional(number(0, below=1))("train.ema_decay", train.get("ema_decay"))
    schedule = train["scheduler"]
    if schedule["type"] == COSINE:
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
