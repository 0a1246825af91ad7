"""A model gets each of our blocks typed, parsed once, from what BasicSR hands it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from compsrt_plugin.config import run_options, typed
from compsrt_plugin.config.blocks import PruneBlock, TileBlock
from compsrt_plugin.config.load import load_option_file
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


def ordered(value: Any) -> Any:
    """Return options as BasicSR's YAML loader builds them."""
    if isinstance(value, dict):
        return OrderedDict((name, ordered(part)) for name, part in value.items())
    return [ordered(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("command", ["train", "test"])
def test_a_model_gets_the_blocks_that_were_parsed_from_the_option_file(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load_option_file("compsrt_x4_3bit.yml", command)
    monkeypatch.setattr(typed, "_block", lambda *_: pytest.fail("parsed again"))
    assert RunOptions.of(ordered(file.options)) is file.typed.run


def test_other_values_or_another_order_are_parsed() -> None:
    one, other = {"*.fc1": {"bits": 8}}, {"*.fc*": {"bits": 6}}
    made = RunOptions.of({"quant": {"overrides": {**one, **other}}})
    assert made is RunOptions.of({"quant": {"overrides": {**one, **other}}})
    turned = RunOptions.of({"quant": {"overrides": {**other, **one}}})
    assert turned is not made and turned.quant is not None
    assert list(turned.quant.spec.overrides)[-1] == "*.fc1"
    with pytest.raises(CompSRTError, match="overrides"):
        RunOptions.of({"quant": {"overrides": {1: {"bits": 8}}}})


def test_only_the_last_few_are_kept() -> None:
    for bits in (2, 3, 4, 5, 6, 7, 8):
        for tile in (16, 32):
            RunOptions.of({"quant": {"bits": bits}, "tile": {"size": tile, "overlap": 2}})
    assert len(run_options._KEPT) == run_options.MOST_KEPT
