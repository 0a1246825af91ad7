"""A `train:` block that BasicSR could not use is refused before the first iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.training.train_block import checked_train_block
from training import tiny_run


def checked(**changes: Any) -> dict[str, Any]:
    return checked_train_block(tiny_run.options(Path("."), **changes))


def test_a_cosine_without_periods_ends_with_the_run():
    assert checked(train__total_iter=40)["scheduler"] == {"type": "CosineAnnealingRestartLR", "periods": [40]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train__optim_g__type": "AdamX"}, r"train\.optim_g\.type: 'AdamX'; allowed: Adam"),
        ({"train__optim_g__lr": None}, r"train\.optim_g\.lr is None"),
        ({"train__optim_g": None}, r"train\.optim_g is None"),
        ({"train__scheduler__type": "Cosine"}, r"train\.scheduler\.type: 'Cosine'"),
        ({"train__scheduler__periods": [2]}, r"periods add up to 2, total_iter is 6"),
        ({"train__ema_decay": 1}, r"train\.ema_decay is 1"),
        ({"datasets__train__gt_size": 80}, r"patches of 20 pixels; allowed: multiples of the window, 8"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], says: str):
    with pytest.raises(CompSRTError, match=says):
        checked(**change)


def test_without_iterations_nothing_is_needed():
    assert checked(train__total_iter=0, train__optim_g=None)["optim_g"] is None
