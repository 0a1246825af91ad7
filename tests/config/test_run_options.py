"""A model gets each of our blocks typed, from what BasicSR hands it."""

from __future__ import annotations

import pytest

from compsrt_plugin.config.blocks import PruneBlock, TileBlock
from compsrt_plugin.config.run_options import RunOptions
from compsrt_plugin.errors import CompSRTError


def test_blocks_are_typed_and_settled_by_the_recipe() -> None:
    options = RunOptions.of({"quant": {"bits": 3}, "prune": {"ratio": 0.5}, "tile": {"size": 64}, "distill": None})
    assert options.quant is not None and options.quant.bits == 3
    assert options.quant.spec.weight.aligned_zero_point, "the weights are pruned"
    assert options.prune == PruneBlock(ratio=0.5) and options.tile == TileBlock(size=64)
    assert options.distill.train_weights, "as the recipe plus has it"
    assert options.padding == "reflect"


def test_without_blocks_nothing_is_quantized_pruned_or_cut() -> None:
    options = RunOptions.of({"val": None})
    assert (options.quant, options.prune, options.tile) == (None, None, None)
    assert options.distill.target_weight == 1


@pytest.mark.parametrize(
    ("opt", "says"),
    [
        ({"prune": {"ratio": 2}}, r"prune\.ratio is 2"),
        ({"val": {"padding": "zero"}}, r"unknown val\.padding: 'zero'; allowed: flip, reflect"),
        ({"tile": {"size": 8, "overlap": 8}}, r"tile\.overlap is 8; allowed: 0 to below half of tile\.size 8"),
        ({"distill": "much"}, "distill is 'much'; allowed: a block of keys"),
    ],
)
def test_a_mistake_is_named(opt: dict[str, object], says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        RunOptions.of(opt)
