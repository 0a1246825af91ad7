"""Quantizers, transforms and linear layers as the tensors that the kernels read; constants are computed in float64.

See `engine.fold` for the arithmetic: y = unit (α Σ r'w' + β Σ r' + γ) + bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compsrt_plugin.engine.fold import Scale, describe_quantizer, signs_of, unit_norm
from compsrt_plugin.quant import Quantizer, QuantLinear, padded_width
from compsrt_plugin.quant.hadamard_orders import signs

LEAST = 16  # rows and columns of what the tensor cores multiply


def tile(width: int) -> int:
    """Return the columns of a tile that holds `width`: a power of two, 16 at least."""
    return max(LEAST, padded_width(width))


def domain_width(quantizer: Quantizer, width: int) -> int:
    """Return how many coefficients `width` values have in the quantizer's domain."""
    return width if quantizer.spec.transform == "none" else padded_width(width)


def quantizer_numbers(quantizer: Quantizer, width: int) -> list[float]:
    """Return what `codes_of` reads: factor, offset, top, centre, for `width` values whose transform has no 1 / √m."""
    found = describe_quantizer(quantizer, width)
    return [found.code_scale, found.code_offset, found.top, found.centre]


def transform_matrix(quantizer: Quantizer, width: int) -> np.ndarray:
    """Return D H of a quantizer's transform, without its 1 / √m: float64 (width, m) of ±1; the identity for none.

    The one of `hadamard_softmax` is complete: the kernel leaves the first coefficient out.
    """
    if quantizer.spec.transform == "none":
        return np.eye(width)
    return signs_of(quantizer, width)[:, None] * signs(padded_width(width))[:width].double().numpy()


def padded(values: np.ndarray, *shape: int) -> np.ndarray:
    """Return values with zeros behind them, along each axis, up to `shape`."""
    return np.pad(values, [(0, whole - own) for own, whole in zip(values.shape, shape)])


def halves(values: np.ndarray) -> Tensor:
    """Return small integers as float16, in which they are exact."""
    found = torch.from_numpy(np.ascontiguousarray(values)).half()
    assert (found.double().numpy() == values).all()
    return found


def floats(values: np.ndarray | list[float]) -> Tensor:
    """Return float32, contiguous."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


@dataclass(frozen=True)
class IntegerLinear:
    """A linear layer in integers.

    Attributes:
        codes: w', int8 as float64 numbers (outputs, columns of the domain).
        rows: α, β, γ, bias: float64 (4, outputs).
    """

    codes: np.ndarray
    rows: np.ndarray

    def tensors(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Return codes, int8 (rows, columns), and α, β, γ, bias, float32 (4, rows), zeros behind."""
        codes = torch.from_numpy(padded(self.codes, rows, columns)).to(torch.int8)
        return codes, floats(padded(self.rows, 4, rows))


def integer_linear(layer: QuantLinear, factor: float = 1.0) -> IntegerLinear:
    """Fold a frozen layer without a mask, whose outputs are multiplied by `factor`."""
    assert layer.weight_codes is not None
    a, w = Scale(layer.input_quantizer), Scale(layer.weight_quantizer)
    outputs, columns = layer.weight_codes.shape
    centre, s, z = (np.broadcast_to(value.reshape(-1), outputs) for value in (w.centre, w.s, w.z_centred))
    codes = layer.weight_codes.cpu().double().numpy() - centre[:, None]
    sums = codes.sum(1)
    in_units = factor * unit_norm(layer.input_quantizer, layer.in_features)
    bias = np.zeros(outputs) if layer.bias is None else layer.bias.detach().cpu().double().numpy()
    alpha, beta = a.s * s * in_units, a.s * z * in_units
    gamma = a.z_centred * (s * sums + z * columns) * in_units
    return IntegerLinear(codes, np.stack([alpha, beta, gamma, bias * factor]))
