"""A user's words mean one full-precision network: of an option file, a packed file or a weight file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from places import Place

from compsrt_plugin.analysis.tensors.subject import find_subject, reference_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import bundled, load_weights
from compsrt_plugin.packed.open import open_packed

TEACHER = bundled.WEIGHTS / "swinir_light_x4_teacher.safetensors"
PACKED = bundled.WEIGHTS / "compsrt_x4_3bit.safetensors"


def has_weights_of(network: torch.nn.Module, file: Path) -> bool:
    state = network.state_dict()
    return all(torch.equal(state[name], value) for name, value in load_weights(file).items())


def test_a_test_file_means_its_teacher_and_names_the_packed_file():
    subject = find_subject("compsrt_x4_3bit.yml")
    assert has_weights_of(subject.network, TEACHER)
    assert (subject.packed, subject.decoded, subject.train_set) == (PACKED, False, None)
    assert subject.quant is not None and subject.quant.bits == 3


def test_bits_that_no_bundled_file_has_are_analyzed_all_the_same():
    subject = find_subject("compsrt_x4_3bit", ["quant:bits=5"])
    assert subject.packed is None and has_weights_of(subject.network, TEACHER)


def test_a_weight_file_means_the_network_that_its_tensors_fit():
    subject = find_subject(str(TEACHER))
    assert type(subject.network).__name__ == "CompSRTSwinIR"
    assert (subject.scale, subject.quant, subject.packed) == (4, None, None)
    assert has_weights_of(subject.network, TEACHER)


def test_a_packed_file_means_its_decoded_weights_and_knows_what_it_was_made_from():
    subject, packed = find_subject(str(PACKED)), open_packed(PACKED)
    assert subject.decoded and subject.packed == PACKED
    layer = packed.network.get_submodule("layers.0.residual_group.blocks.0.mlp.fc1")
    decoded = layer.weight_quantizer.inverse(layer.quantized_matrix(), 60)
    assert torch.equal(subject.network.state_dict()["layers.0.residual_group.blocks.0.mlp.fc1.weight"], decoded)
    assert has_weights_of(reference_of(packed), TEACHER)


def test_a_packed_file_that_does_not_say_is_refused(place: Place):
    with pytest.raises(CompSRTError, match="does not record the network that it was made from; name an option file"):
        reference_of(open_packed(place.files["packed"]))


def test_a_packed_network_that_a_test_file_names_must_be_there(place: Place):
    place.test["path"]["pretrain_network_g"] = "none.safetensors"
    place.write("test")
    with pytest.raises(CompSRTError, match=r"no such file: none\.safetensors"):
        find_subject("options.yml")
