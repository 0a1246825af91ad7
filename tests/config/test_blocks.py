"""A block that exists is right; a wrong one names the very key."""

from __future__ import annotations

from typing import Any

import pytest

from compsrt_plugin.config.blocks import DistillBlock, PruneBlock, QuantBlock, WeightBlock
from compsrt_plugin.config.typed import Block
from compsrt_plugin.errors import CompSRTError


@pytest.mark.parametrize("kind", [QuantBlock, PruneBlock, DistillBlock])
@pytest.mark.parametrize("values", [None, {}])
def test_an_empty_block_has_all_defaults(kind: type[Block], values: Any) -> None:
    assert kind.from_dict(values) == kind()


def test_a_block_is_typed_and_cannot_be_changed() -> None:
    block = QuantBlock.from_dict({"bits": 3, "weight": {"granularity": "per_channel"}, "conv_bits": None})
    assert block.bits == 3
    assert block.weight == WeightBlock(granularity="per_channel")
    assert block.weight.given() == {"granularity": "per_channel"}
    assert block.conv_bits is None
    with pytest.raises(AttributeError):
        block.bits = 4  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"bits": 9}, "quant.bits is 9; allowed: 2 to 8"),
        ({"bits": 1}, "quant.bits is 1; allowed: 2 to 8"),
        ({"bits": "3"}, "quant.bits is '3'; allowed: 2 to 8"),
        ({"bits": True}, "quant.bits is True; allowed: 2 to 8"),
        ({"bit": 3}, "unknown key in quant: 'bit'; allowed: .*did you mean 'bits'"),
        ({"recipe": ["compsrt"]}, r"unknown quant.recipe: \['compsrt'\]; allowed: 2dquant"),
        ({"conv_bits": 1}, "quant.conv_bits is 1; allowed: 2 to 8"),
        ({"conv_bits": "eight"}, "quant.conv_bits is 'eight'"),
        ({"conv_input_bits": 1}, "quant.conv_input_bits is 1; allowed: 2 to 8"),
        ({"weight": 4}, "quant.weight is 4; allowed: a block of keys"),
        ({"weight": {"bits": 9}}, "quant.weight.bits is 9; allowed: 2 to 8"),
        ({"weight": {"codes": "loose"}}, "quant.weight.codes: 'loose'; allowed: paper, strict"),
        ({"activation": {"search": "dobbi"}}, "quant.activation.search: 'dobbi'; allowed: .*did you mean 'dobi'"),
        ({"activation": {"transform": "dct"}}, "quant.activation.transform: 'dct'; allowed: hadamard.*none"),
        ({"activation": {"granularity": 1}}, "quant.activation.granularity: 1"),
        ({"activation": {"scalar_decomposition": "on"}}, "scalar_decomposition is 'on'; allowed: true or false"),
        ({"activation": {"serach": "dobi"}}, "unknown key in quant.activation: 'serach'; .*did you mean 'search'"),
        ({"overrides": {"*.fc2": {"bit": 4}}}, r"quant.overrides\['\*.fc2'\]: 'bit'; .*did you mean 'bits'"),
        ({"overrides": {"*.fc2": {"bits": 16}}}, r"quant.overrides\['\*.fc2'\].bits is 16; allowed: 2 to 8"),
        ({"overrides": {"*.fc2": 4}}, r"quant.overrides\['\*.fc2'\] is 4; allowed: a block"),
        ({"overrides": ["*.fc2"]}, "quant.overrides is .*; allowed: a mapping"),
        ({"calibration": {"patches": 0}}, "quant.calibration.patches is 0"),
        ({"calibration": {"patchsize": 64}}, "unknown key in quant.calibration: .*did you mean 'patch_size'"),
    ],
)
def test_a_wrong_quant_block_names_the_key(values: dict, says: str) -> None:
    with pytest.raises(CompSRTError, match=says) as error:
        QuantBlock.from_dict(values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (PruneBlock, {"ratio": 1}, "prune.ratio is 1; allowed: numbers from 0 to below 1"),
        (PruneBlock, {"ratio": -0.1}, "prune.ratio is -0.1"),
        (PruneBlock, {"ratio": float("nan")}, "prune.ratio is nan"),
        (PruneBlock, {"hook": 3}, "unknown prune.hook: 3; allowed: channel"),
        (PruneBlock, {"layers": {"*.fc1": 2}}, r"prune.layers\['\*.fc1'\] is 2"),
        (DistillBlock, {"feature_weight": -1}, "distill.feature_weight is -1"),
        (DistillBlock, {"gradient_clip": 0}, "distill.gradient_clip is 0; allowed: numbers above 0"),
        (DistillBlock, {"lambda": 5}, "unknown key in distill: 'lambda'"),
    ],
)
def test_wrong_values_of_the_other_blocks_are_named(kind: type[Block], values: dict, says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        kind.from_dict(values)


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(CompSRTError, match=r"quant\.bits is 9"):
        QuantBlock(bits=9)
