"""A recipe is a named set of values, and every value can be overridden."""

from __future__ import annotations

import json

import pytest
import yaml

from compsrt_plugin.config.quant_options import resolve, resolve_distill
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.spec import NetworkSpec


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_recipe_is_documented_and_yields_a_spec_at_the_asked_bits(recipe: str, bits: int) -> None:
    options = resolve({"recipe": recipe, "bits": bits})
    assert RECIPES[recipe].about
    assert options.spec.weight.bits == options.spec.activation.bits == bits


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resolved_set_survives_yaml_and_json(recipe: str) -> None:
    resolved = resolve({"recipe": recipe, "bits": 3}).to_dict()
    assert yaml.safe_load(yaml.safe_dump(resolved)) == json.loads(json.dumps(resolved)) == resolved
    assert NetworkSpec.from_dict(resolved["spec"]).to_dict() == resolved["spec"]


def test_an_empty_block_means_the_default_recipe() -> None:
    assert resolve(None).recipe == "plus"


def test_an_unknown_recipe_is_refused_with_the_nearest_offered() -> None:
    with pytest.raises(CompSRTError, match=r"unknown quant\.recipe: 'comsrt'; allowed: .*did you mean 'compsrt'"):
        resolve({"recipe": "comsrt"})


def test_published_recipes_keep_the_weights_and_plus_trains_them() -> None:
    trains = {name for name in RECIPES if resolve_distill(name, None).train_weights}
    assert trains == {"plus"}


def test_what_the_option_file_says_of_distillation_goes_before_the_recipe() -> None:
    block = resolve_distill("plus", {"train_weights": False, "feature_weight": 1})
    assert (block.train_weights, block.feature_weight, block.relative_lr) == (False, 1, True)


def test_only_the_paper_recipe_leaves_codes_unlimited() -> None:
    unlimited = [name for name in RECIPES if resolve({"recipe": name}).spec.weight.codes != "strict"]
    assert unlimited == ["compsrt-paper"]


def test_two_d_quant_searches_one_side_for_the_softmax_map_and_the_gelu_output() -> None:
    spec = resolve({"recipe": "2dquant", "bits": 3}).spec
    searches = {
        place: getattr(spec.resolve("activation", place.rsplit(".", 1)[0], place), "search", None)
        for place in ("layers.0.attn.map", "layers.0.mlp.fc2.input", "layers.0.mlp.fc1.input", "layers.0.attn.q")
    }
    assert list(searches.values()) == ["dobi_one_sided", "dobi_one_sided", "dobi", "dobi"]


def test_condiquant_is_two_d_quant_with_weights_conditioned_before() -> None:
    ours, base = resolve({"recipe": "condiquant", "bits": 3}), resolve({"recipe": "2dquant", "bits": 3})
    assert ours.spec == base.spec
    assert (ours.passes["conditioning"], base.passes["conditioning"]) == (0.01, None)
    assert resolve({"recipe": "condiquant", "conditioning": None}).passes["conditioning"] is None
    assert resolve({"recipe": "plus", "conditioning": 0.02}).passes["conditioning"] == 0.02
    for value in (0, 1, -0.1, "none", True):
        with pytest.raises(CompSRTError, match=r"quant\.conditioning is .*; allowed: numbers above 0 to below 1"):
            resolve({"conditioning": value})


def test_rounding_is_the_recipes_unless_told_otherwise() -> None:
    assert resolve({}).passes["rounding"] == "gptq" and resolve({"recipe": "compsrt"}).passes["rounding"] == "nearest"
    assert resolve({"rounding": "nearest"}).passes["rounding"] == "nearest"
    assert resolve({"weight": {"codes": "paper"}}).passes["rounding"] == "nearest"
    with pytest.raises(CompSRTError, match="rounding is gptq and codes of weights are paper"):
        resolve({"recipe": "compsrt-paper", "rounding": "gptq"})
    with pytest.raises(CompSRTError, match=r"unknown quant\.rounding: 'gptqq'.*did you mean 'gptq'"):
        resolve({"rounding": "gptqq"})


@pytest.mark.parametrize("name", ["equalization", "bias_correction"])
def test_a_switch_is_the_recipes_unless_told_otherwise(name: str) -> None:
    assert resolve({}).passes[name] is True and resolve({"recipe": "compsrt"}).passes[name] is False
    assert resolve({name: False}).passes[name] is False
    assert resolve({"recipe": "compsrt", name: True}).passes[name] is True
    assert resolve({name: False}).to_dict()[name] is False
    with pytest.raises(CompSRTError, match=rf"quant\.{name} is 'maybe'; allowed: true or false"):
        resolve({name: "maybe"})


def test_the_block_wins_over_the_recipe() -> None:
    block = {
        "recipe": "2dquant",
        "bits": 3,
        "weight": {"granularity": "per_channel", "bits": 4},
        "activation": {"transform": "hadamard"},
        "conv_bits": 6,
        "overrides": {"*.map": {"bits": 8}, "*.fc1": {"keep": True}},
        "calibration": {"patches": 4},
    }
    options = resolve(block)
    assert (options.spec.weight.bits, options.spec.weight.granularity) == (4, "per_channel")
    assert (options.spec.activation.bits, options.spec.activation.transform) == (3, "hadamard")
    assert options.spec.conv_bits == 6
    assert options.spec.overrides["*.map"] == {"search": "dobi_one_sided", "bits": 8}
    assert list(options.spec.overrides) == ["*.fc2.input", "*.map", "*.fc1"]
    assert (options.calibration.patches, options.calibration.patch_size) == (4, 64)


def test_convolutions_can_be_kept_in_full_precision() -> None:
    assert resolve({"recipe": "compsrt"}).spec.conv_bits == 8
    assert resolve({"recipe": "compsrt", "conv_bits": None}).spec.conv_bits is None


def test_resolving_leaves_the_table_as_it_was() -> None:
    before = json.dumps({name: recipe.values for name, recipe in RECIPES.items()})
    resolve({"recipe": "2dquant", "overrides": {"*.map": {"bits": 8}}})
    assert json.dumps({name: recipe.values for name, recipe in RECIPES.items()}) == before


def test_weights_of_pruned_networks_have_aligned_zero_points_unless_told_otherwise() -> None:
    def aligned(block: dict[str, object], pruned: bool) -> bool:
        return resolve(block, pruned).spec.weight.aligned_zero_point

    assert aligned({}, True) and not aligned({}, False)
    assert not aligned({"weight": {"aligned_zero_point": False}}, True)
    assert not aligned({"recipe": "compsrt-paper"}, True)


def test_an_override_without_values_changes_nothing() -> None:
    assert resolve({"overrides": {"*.fc1": None}}).spec == resolve({"overrides": {"*.fc1": {}}}).spec


def test_a_network_in_full_precision_learns_from_the_originals() -> None:
    assert resolve_distill(None, None).target_weight == 1
    assert resolve_distill(None, {"target_weight": 0.5}).target_weight == 0.5


def test_a_distill_block_that_is_no_block_is_refused() -> None:
    with pytest.raises(CompSRTError, match=r"distill is \[\]; allowed: a block of keys"):
        resolve_distill("plus", [])  # pyright: ignore[reportArgumentType]
