from __future__ import annotations

import json

import pytest
import yaml

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantSpec

SPEC = NetworkSpec(
    QuantSpec(3, granularity="per_channel"), QuantSpec(4, "none"), None, {"*.fc2": {"bits": 8}, "head": {"keep": True}}
)


@pytest.mark.parametrize("carrier", [json, yaml], ids=["json", "yaml"])
def test_a_spec_survives_json_and_yaml_unchanged(carrier):
    text = carrier.dumps(SPEC.to_dict()) if carrier is json else yaml.safe_dump(SPEC.to_dict())
    back = carrier.loads(text) if carrier is json else yaml.safe_load(text)
    assert NetworkSpec.from_dict(back) == SPEC


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"bits": 1}, "bits is 1; allowed: integers 2 to 8"),
        ({"bits": 9}, "bits is 9"),
        ({"bits": True}, "bits is True"),
        ({"bits": "3"}, "bits is '3'"),
        ({"transform": "hadamar"}, "did you mean 'hadamard'"),
        ({"granularity": "per_row"}, "granularity"),
        ({"granularity": "per_token", "codes": "paper"}, "granularity is 'per_token' and codes is 'paper'"),
        ({"codes": "loose"}, "codes"),
        ({"scalar_decomposition": 1}, "scalar_decomposition"),
        ({"bit": 3}, "did you mean 'bits'"),
    ],
)
def test_a_wrong_field_is_named(values, says):
    with pytest.raises(CompSRTError) as error:
        QuantSpec.from_dict(values)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"weights": {}}, "did you mean 'weight'"),
        ({"weight": {"bits": 0}}, "weight: bits is 0"),
        ({"weight": {"granularity": "per_token"}}, "weight: granularity"),
        ({"activation": {"granularity": "per_channel"}}, "activation: granularity"),
        ({"conv_bits": 1}, "conv_bits is 1"),
        ({"conv_input_bits": 9}, "conv_input_bits is 9"),
        ({"conv_input_bits": 8, "conv_bits": None}, "conv_input_bits is 8 and conv_bits is null"),
        ({"overrides": {"a": {"bit": 3}}}, "override 'a'"),
        ({"overrides": {"a": 3}}, "override 'a' is 3"),
    ],
)
def test_a_wrong_place_in_a_network_spec_is_named(values, says):
    with pytest.raises(CompSRTError) as error:
        NetworkSpec.from_dict(values)
    assert says in str(error.value)


def test_a_granularity_goes_to_the_tensors_that_can_have_it():
    spec = NetworkSpec(overrides={"fc": {"granularity": "per_token"}, "last.input": {"granularity": "per_token"}})
    assert spec.resolve("activation", "fc", "fc.input").granularity == "per_token"
    assert spec.resolve("weight", "fc", "fc.weight").granularity == "per_tensor"
    assert spec.resolve("activation", "last", "last.input").granularity == "per_token"
    spec = NetworkSpec(overrides={"fc.weight": {"granularity": "per_token"}})
    with pytest.raises(CompSRTError, match=r"override 'fc.weight': granularity.*per_channel"):
        spec.resolve("weight", "fc", "fc.weight")


def test_an_operand_without_token_scale_has_no_scales_of_tokens():
    spec = QuantSpec(granularity="per_token")
    assert spec.without_token_scale().granularity == "per_tensor"
    assert QuantSpec(granularity="per_channel").without_token_scale().granularity == "per_channel"


KEEP, FOUR = {"keep": True}, {"bits": 4}


@pytest.mark.parametrize(
    ("overrides", "bits"),
    [
        ({"*": KEEP, "1": FOUR}, 4),
        ({"1": FOUR, "*": KEEP}, None),
        ({"*": KEEP, "1.input": FOUR}, 4),
        ({"1.input": KEEP, "1": FOUR}, 4),
        ({"*": {"keep": True, "bits": 5}, "1": {"keep": False}}, 5),
        ({"*": KEEP, "1": {"search": "minmax"}, "?": KEEP}, None),
        ({"*": KEEP, "1": {"search": "minmax"}, "?": {"bits": 6}}, 6),
    ],
)
def test_of_overrides_that_match_the_last_one_wins_whether_it_keeps_or_not(overrides, bits):
    spec = NetworkSpec(overrides=overrides)
    found = spec.resolve("activation", "1", "1.input")
    assert (found and found.bits) == bits
    assert spec.matched == set(overrides)


def test_a_granularity_that_a_later_override_replaces_is_not_refused():
    spec = NetworkSpec(overrides={"*": {"granularity": "per_token"}, "conv": {"granularity": "per_tensor"}})
    assert spec.resolve("conv", "conv", "conv.weight").granularity == "per_tensor"
    with pytest.raises(CompSRTError, match=r"override '\*': granularity 'per_token'; allowed"):
        spec.resolve("conv", "other", "other.weight")


def test_fields_that_do_not_go_together_are_blamed_on_the_overrides_that_bring_them():
    spec = NetworkSpec(overrides={"fc*": {"granularity": "per_token"}, "fc1": {"codes": "paper"}, "fc?": {"bits": 4}})
    with pytest.raises(CompSRTError, match=r"^override 'fc\*' and 'fc1' and 'fc\?', at fc1\.input: granularity is"):
        spec.resolve("activation", "fc1", "fc1.input")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"a": {"bits": 9}}, "override 'a': bits is 9"),
        ({"a": {"keep": "no"}}, "override 'a': keep is 'no'; allowed: true or false"),
        ({1: {"bits": 4}}, "override 1 is not text; allowed: a layer-name pattern; quote it"),
    ],
)
def test_a_wrong_override_is_named_by_its_pattern(overrides, says):
    with pytest.raises(CompSRTError) as error:
        NetworkSpec(overrides=overrides)
    assert says in str(error.value)


def test_raised_bits_are_those_of_one_quantizer_whatever_the_overrides_say() -> None:
    spec = NetworkSpec(activation=QuantSpec(3), overrides={"attn.*": {"bits": 4}}).with_bits({"attn.q": 6})
    bits = {
        place: getattr(spec.resolve(role, layer, place), "bits", None)
        for role, layer, place in [
            ("activation", "attn", "attn.q"),
            ("activation", "attn", "attn.k"),
            ("activation", "attn.q", "attn.q.input"),  # a layer of the operand's name
            ("weight", "attn.q", "attn.q.weight"),
        ]
    }
    assert bits == {"attn.q": 6, "attn.k": 4, "attn.q.input": 4, "attn.q.weight": 4}
    assert NetworkSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("raised", [{"fc.input": 9}, {"fc.input": True}, {"fc.input": None}, ["fc.input"]])
def test_raised_bits_that_are_not_allowed_are_refused(raised: object) -> None:
    with pytest.raises(CompSRTError, match="raised"):
        NetworkSpec(raised=raised)  # pyright: ignore[reportArgumentType]
