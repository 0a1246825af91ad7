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
        ({"bits": 1}, "bits is 1; allowed: whole numbers 2 to 8"),
        ({"bits": 9}, "bits is 9"),
        ({"bits": True}, "bits is True"),
        ({"bits": "3"}, "bits is '3'"),
        ({"transform": "hadamar"}, "did you mean 'hadamard'"),
        ({"granularity": "per_row"}, "granularity"),
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
