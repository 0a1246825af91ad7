"""A sealed file may still say nonsense about itself: every entry that is read later is checked."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.header import MAX_OPTIONS, Header, pack_options
from compsrt_plugin.quant import NetworkSpec

GOOD: dict[str, Any] = {
    "arch": {"type": "CompSRTSwinIR", "upscale": 4},
    "spec": NetworkSpec().to_dict(),
    "provenance": {"bits": 3, "recipe": "compsrt", "weights_trained": False, "anything": [1]},
}


def test_a_good_header_is_taken_over():
    header = Header.parse(GOOD, "net.safetensors")
    assert (header.scale, header.bits, header.recipe, header.weights_trained) == (4, 3, "compsrt", False)
    assert header.spec == NetworkSpec()
    assert header.provenance["anything"] == [1]


KINDS = {
    "arch": dict,
    "arch.type": str,
    "arch.upscale": int,
    "spec": dict,
    "provenance": dict,
    "provenance.bits": int,
    "provenance.weights_trained": bool,
}
WRONG = [
    (place, value)
    for place, kind in KINDS.items()
    for value in (None, [], "x", 3, 1.5, True)
    if type(value) is not kind
]


@pytest.mark.parametrize(("place", "value"), WRONG, ids=str)
def test_an_entry_of_the_wrong_kind_is_one_line(place: str, value: Any):
    header = copy.deepcopy(GOOD)
    *blocks, name = place.split(".")
    block = header[blocks[0]] if blocks else header
    block[name] = value
    with pytest.raises(CompSRTError, match=rf"net\.safetensors is damaged: the entry '{name}' of its header is"):
        Header.parse(header, "net.safetensors")
    del block[name]
    with pytest.raises(CompSRTError, match=rf"the entry '{name}' of its header is missing"):
        Header.parse(header, "net.safetensors")


@pytest.mark.parametrize(
    "spec",
    [{"weight": 3}, {"weight": None}, {"foo": 1}, {"overrides": [1]}, {"overrides": {"*": 1}}, {"conv_bits": "8"}],
    ids=str,
)
def test_a_spec_that_is_not_allowed_is_one_line(spec: dict[str, Any]):
    with pytest.raises(CompSRTError, match="the spec in its header is not allowed"):
        Header.parse({**GOOD, "spec": spec}, "net.safetensors")


def with_options(packed: Any) -> Header:
    return Header.parse({**GOOD, "provenance": {**GOOD["provenance"], "options": packed}}, "net.safetensors")


def test_the_option_file_comes_back_and_older_files_have_none():
    text = "name: mine\nscale: 4\n# α\n"
    assert with_options(pack_options(text)).options == text
    assert Header.parse(GOOD, "net.safetensors").options is None


@pytest.mark.parametrize(
    "packed",
    [3, None, "", "no base 85 \n", pack_options("name: mine")[:-5], pack_options("x" * (MAX_OPTIONS + 1))],
    ids=["number", "null", "empty", "no code", "cut off", "endless"],
)
def test_an_option_file_that_cannot_be_read_is_one_line(packed: Any):
    with pytest.raises(CompSRTError, match=r"net\.safetensors is damaged: the (entry 'options'|option file)"):
        with_options(packed)


def test_bits_beyond_a_byte_are_refused():
    header = {**GOOD, "provenance": {**GOOD["provenance"], "bits": 9}}
    with pytest.raises(CompSRTError, match="bits is 9, not 2 to 8"):
        Header.parse(header, "net.safetensors")


KEPT_FIRST = {"fc?": {"keep": True}, "*": {"bits": 4}}


@pytest.mark.parametrize(
    ("overrides", "quantized", "kept"),
    [
        (KEPT_FIRST, ["other.weight"], True),
        (KEPT_FIRST, ["other.weight", "fc1.weight"], False),
        ({"attn": {"keep": True}, "*": {"bits": 4}}, ["attn.attention1.q"], False),
    ],
)
def test_a_file_is_read_by_the_rule_by_which_keep_won_when_it_was_written(overrides, quantized: list[str], kept: bool):
    header = {**GOOD, "spec": NetworkSpec(overrides=overrides).to_dict()}
    tensors = [f"{name}_quantizer.lower" for name in quantized]
    spec = Header.parse(header, "net.safetensors", tensors).spec
    assert (spec.resolve("weight", "fc1", "fc1.weight") is None) == kept
