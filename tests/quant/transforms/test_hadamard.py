from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from compsrt_plugin.quant.transforms import TRANSFORMS
from compsrt_plugin.quant.transforms.hadamard import (
    hadamard_matrix,
    hadamard_transform,
    inverse_hadamard_transform,
    padded_width,
)

WIDTHS = [1, 2, 10, 48, 60, 64, 90, 120, 180]


def test_the_matrix_is_symmetric_orthonormal_and_its_own_inverse():
    matrix = hadamard_matrix(64, torch.device("cpu"), torch.float64)
    assert torch.equal(matrix, matrix.T)
    assert torch.allclose(matrix @ matrix, torch.eye(64, dtype=torch.float64), atol=1e-12)
    assert set((matrix * 8).unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_transform_equals_zero_padding_times_the_matrix(width: int):
    x = torch.randn(3, 5, width, dtype=torch.float64)
    order = padded_width(width)
    padded = F.pad(x, (0, order - width))
    expected = padded @ hadamard_matrix(order, x.device, x.dtype)
    assert torch.allclose(hadamard_transform(x), expected, atol=1e-12)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_transform_and_inverse_give_the_tensor_back(width: int, dtype: torch.dtype, tolerance: float):
    x = torch.randn(7, 3, width).to(dtype)
    back = inverse_hadamard_transform(hadamard_transform(x), width)
    assert back.shape == x.shape and back.dtype == dtype
    assert torch.allclose(back, x, atol=tolerance, rtol=tolerance)


def test_the_transform_keeps_lengths_and_inner_products():
    x, y = torch.randn(2, 4, 60, dtype=torch.float64)
    assert torch.allclose(hadamard_transform(x) @ hadamard_transform(y).T, x @ y.T, atol=1e-12)


@pytest.mark.parametrize("width", [10, 16, 60, 64])
def test_rows_that_sum_to_one_need_no_first_coefficient(width: int):
    rows = torch.randn(5, 3, width, dtype=torch.float64).softmax(-1)
    coefficients = TRANSFORMS["hadamard_softmax"].forward(rows)
    assert coefficients.shape == (5, 3, padded_width(width) - 1)
    assert torch.allclose(coefficients, hadamard_transform(rows)[..., 1:], atol=1e-12)
    assert torch.allclose(TRANSFORMS["hadamard_softmax"].inverse(coefficients, width), rows, atol=1e-12)
