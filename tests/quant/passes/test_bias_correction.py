"""The last bias removes the error that quantization adds to all images alike."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection

HALF_PRECISION = 2.0**-13  # how far rounding to half precision moves a bias below 1/2, at most


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2)]
    return nn.Sequential(*body).eval()


def patches(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, 12, 12, generator=generator) for _ in range(4)]


def quantized() -> tuple[nn.Sequential, nn.Sequential]:
    teacher = network()
    student = copy.deepcopy(teacher)
    convert(student, NetworkSpec(QuantSpec(2), QuantSpec(2), conv_bits=2))
    calibrate(student, patches())
    return student, teacher


def mean_error(student: nn.Module, teacher: nn.Module, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.stack([student(x) - teacher(x) for x in inputs]).mean((0, 1, 3, 4))


def test_the_mean_of_the_output_is_the_teachers():
    student, teacher = quantized()
    assert mean_error(student, teacher, patches()).abs().max() > 1e-3
    correction = BiasCorrection(student, teacher, patches())
    assert correction.name == "2", "the last layer with a bias"
    assert correction.apply() > 1e-3
    assert mean_error(student, teacher, patches()).abs().max() <= HALF_PRECISION
    assert correction.apply() <= HALF_PRECISION, "nothing is left to do"
    assert mean_error(student, teacher, patches(9)).abs().max() < 1e-3, "other images have the same cast"


def test_the_bias_is_one_that_a_file_holds_in_sixteen_bits():
    student, teacher = quantized()
    BiasCorrection(student, teacher, patches()).apply()
    assert torch.equal(student[2].bias, student[2].bias.half().float())


def test_it_follows_parameters_that_change():
    student, teacher = quantized()
    correction = BiasCorrection(student, teacher, patches())
    with torch.no_grad():
        student[0].bias.add_(0.05)
    correction.apply()
    assert mean_error(student, teacher, patches()).abs().max() <= HALF_PRECISION


def test_a_network_whose_last_layer_has_no_bias_is_corrected_before_it():
    teacher = network()
    teacher[2] = nn.Conv2d(8, 12, 3, padding=1, bias=False)
    student = copy.deepcopy(teacher)
    assert BiasCorrection(student, teacher, patches()).name == "0"


def test_a_network_without_biases_stays():
    teacher = nn.Sequential(nn.Conv2d(3, 12, 3, bias=False))
    correction = BiasCorrection(copy.deepcopy(teacher), teacher, patches())
    assert correction.name is None and correction.apply() == 0.0
