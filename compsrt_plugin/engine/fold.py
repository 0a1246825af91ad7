"""Fold quantizers and linear layers to integers and a few constants, for the engine.

    y = Σ (s_a r + Z_a)(s_w c + Z_w) = s_a s_w Σ r'w' + s_a Z_w' Σ r' + Z_a' (s_w Σ w' + Z_w' m)

times the token's unit where it has its own, and with r' = r − centre and w' = c − centre of integers chosen so that
s·centre + Z ≈ 0: all sums lie around zero, and in floats lose no more than the simulated network's. Constants are
computed in float64 and rounded once.

`hadamard_signed` is the plain transform of x D, D = diag(±1): the norm before a linear layer has the signs of its input
in its weight and bias, or the layer has them beside it; those of q, k and v are in the rows of the linear layers that
make them, where they cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from compsrt_plugin.engine.scale import Scale
from compsrt_plugin.engine.sums import in_fours, sparse_weight, weight_fits
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import Level
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant import Quantizer, QuantLinear, padded_width
from compsrt_plugin.quant.matmul import share_domain
from compsrt_plugin.quant.quantizer import ZERO_POINT_STEPS
from compsrt_plugin.quant.transforms import TRANSFORMS


def floats(values: Tensor | np.ndarray) -> np.ndarray:
    """Return float32, contiguous."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    return np.ascontiguousarray(values, np.float32)


def integers(values: np.ndarray) -> np.ndarray:
    """Return int32, contiguous."""
    return np.ascontiguousarray(values, np.int32)


def describe_quantizer(quantizer: Quantizer | None, rows: int) -> c.Quantizer:
    """Describe an activation quantizer of `rows` rows; None is an operand in full precision."""
    if quantizer is None:
        return c.Quantizer(width=rows)
    transform = quantizer.domain.compiled or 0  # `check_quantizer` has refused other transforms
    width = padded_width(rows) if transform else rows
    norm = np.sqrt(width if transform and not quantizer.per_token else 1)
    found = Scale(quantizer)
    s, z = float(found.s), float(found.z)
    return c.Quantizer(
        scale=s,
        zero=z,
        top=found.top,
        transform=transform,
        width=width,
        code_scale=1 / (s * norm),
        code_offset=-z / s,
        per_token=int(quantizer.per_token),
        centre=int(found.centre),
    )


def unit_norm(quantizer: Quantizer, rows: int) -> float:
    """Return the factor that turns the engine's unit of a token, of `rows` values, into the quantizer's.

    The engine takes the largest magnitude after butterflies without their 1 / √width; 1 where scales have no units.
    """
    if not quantizer.per_token or not quantizer.domain.compiled:
        return 1.0
    return 1 / float(np.sqrt(padded_width(rows)))


def signs_of(quantizer: Quantizer | None, width: int) -> np.ndarray:
    """Return D of a quantizer of `width` values: float64 (width,), all 1 without signs."""
    if quantizer is None or quantizer.domain.signs is None:
        return np.ones(width)
    return quantizer.domain.signs(width).double().numpy()


def describe_linear(
    layer: nn.Module, level: Level, factor: float | np.ndarray = 1.0, given_signs: float | np.ndarray = 1.0
) -> c.Linear:
    """Describe a `QuantLinear` or `nn.Linear`.

    Args:
        layer: what to describe.
        level: of instructions.
        factor: by which its outputs are multiplied, () or (outputs,).
        given_signs: by which its inputs are already multiplied, () or (inputs,).
    """
    assert isinstance(layer, (nn.Linear, QuantLinear))
    factor = np.broadcast_to(factor, layer.out_features)
    own = signs_of(getattr(layer, "input_quantizer", None), layer.in_features)
    signs = None if (own * given_signs == 1).all() else floats(own * given_signs)
    if isinstance(layer, QuantLinear):
        return _quantized(layer, level, factor, own, signs)
    weight = layer.weight.detach().cpu().double().numpy() * factor[:, None]
    return linear_in_floats(weight, _bias(layer) * factor, describe_quantizer(None, layer.in_features), signs=signs)


def linear_in_floats(weight: np.ndarray, bias: np.ndarray, quantizer: c.Quantizer, **more: object) -> c.Linear:
    """Describe y = W x̂ + b in floats.

    Args:
        weight: W (outputs, inputs).
        bias: b (outputs,).
        quantizer: of the input.
        more: other fields.
    """
    outputs, inputs = weight.shape
    sizes = {"inputs": inputs, "outputs": outputs, "columns": inputs, "rows": outputs}
    return c.Linear(**sizes, input=quantizer, weight=floats(weight), bias=floats(bias), **more)


def _bias(layer: nn.Linear | QuantLinear) -> np.ndarray:
    if layer.bias is None:
        return np.zeros(layer.out_features)
    return layer.bias.detach().cpu().double().numpy()


def _quantized(
    layer: QuantLinear, level: Level, factor: np.ndarray, own_signs: np.ndarray, signs: np.ndarray | None
) -> c.Linear:
    with torch.no_grad():
        decoded = layer.quantized_matrix()
    kept_rows, kept_columns = (None if kept is None else kept.cpu().numpy() for kept in layer.kept())
    shared = share_domain(layer.input_quantizer, layer.weight_quantizer)
    bias = _bias(layer) * factor
    if not shared:  # the product is taken in the original domain, where nothing is pruned as a whole
        kept_rows = kept_columns = None
        with torch.no_grad():
            decoded = layer.weight_quantizer.inverse(decoded, layer.in_features)
        decoded = decoded * torch.from_numpy(own_signs).to(decoded)  # the engine takes x̂ D back, not x̂
    rows = np.arange(decoded.shape[0]) if kept_rows is None else kept_rows
    columns = np.arange(decoded.shape[1]) if kept_columns is None else kept_columns
    fields = {
        "inputs": layer.in_features,
        "outputs": layer.out_features,
        "columns": len(columns),
        "rows": len(rows),
        "inverse": int(not shared),
        "input": describe_quantizer(layer.input_quantizer, layer.in_features),
        "signs": signs,
        "kept_rows": None if kept_rows is None else integers(kept_rows),
        "kept_columns": None if kept_columns is None else integers(kept_columns),
        "bias": floats(bias),
    }
    weight = _integer_weight(layer, rows, columns) if shared else None
    x = Scale(layer.input_quantizer) if shared else None
    if weight is None or x is None or not weight_fits(level, x, weight.codes):
        values = decoded.detach().cpu().double().numpy()[np.ix_(rows, columns)]
        return c.Linear(**fields, weight=floats(values * factor[rows, None]))
    factor = factor[rows] * unit_norm(layer.input_quantizer, layer.in_features)
    sparse = sparse_weight(level, x, weight.codes)
    return c.Linear(**fields, **_integer_fields(x, weight, factor, level), sparse=sparse)


@dataclass(frozen=True)
class IntegerWeight:
    """A weight in integers, ŵ = s w' + z: w' (rows, columns), s and z (rows,)."""

    codes: np.ndarray
    s: np.ndarray
    z: np.ndarray


def _integer_weight(layer: QuantLinear, rows: np.ndarray, columns: np.ndarray) -> IntegerWeight | None:
    """Return the weight as integers; None if a masked zero is not an integer multiple of a fine step.

    An aligned zero point is a multiple of a quarter of the scale. In that unit every weight and the 0 of a mask are
    integers, and z is 0.
    """
    assert layer.weight_codes is not None
    taken, found = np.ix_(rows, columns), Scale(layer.weight_quantizer)
    centre, s, z = (
        np.broadcast_to(value.reshape(-1), layer.weight_codes.shape[:1])[rows]
        for value in (found.centre, found.s, found.z_centred)
    )
    codes = layer.weight_codes.cpu().numpy()[taken].astype(np.int64) - centre[:, None].astype(np.int64)
    if layer.weight_mask is None:
        return IntegerWeight(codes, s, z)
    stays = layer.weight_mask.cpu().numpy()[taken]
    if stays.all():
        return IntegerWeight(codes, s, z)
    if not layer.weight_quantizer.spec.aligned_zero_point:
        return None
    quarters = np.rint(z / s * ZERO_POINT_STEPS).astype(np.int64)  # z itself is rounded to float32
    codes = np.where(stays, codes * ZERO_POINT_STEPS + quarters[:, None], 0)
    return IntegerWeight(codes, s / ZERO_POINT_STEPS, np.zeros_like(z))


def _integer_fields(a: Scale, w: IntegerWeight, factor: np.ndarray, level: Level) -> dict[str, object]:
    s_a, z_a, centre_a = float(a.s), float(a.z_centred), int(a.centre)
    sums = w.codes.sum(1)
    return {
        "integer": 1,
        "codes": in_fours(w.codes),
        "start": integers((level.code_shift - centre_a) * sums),
        "alpha": floats(s_a * w.s * factor),
        "beta": floats(s_a * w.z * factor),
        "gamma": floats(z_a * (w.s * sums + w.z * w.codes.shape[1]) * factor),
    }


def check_quantizer(name: str, quantizer: Quantizer) -> None:
    """Raise for published codes, which may exceed the bits, and for transforms that the engine lacks."""
    spec, hint = quantizer.spec, "run the simulated network"
    if spec.codes != "strict":
        found = f"{name} has codes: {spec.codes}, which are not limited to {spec.bits} bits"
        raise CompSRTError(found, allowed="codes: strict in the engine", hint=hint)
    if quantizer.domain.compiled is None:
        known = ", ".join(name for name, transform in TRANSFORMS.items() if transform.compiled is not None)
        raise CompSRTError(f"{name} has transform: {spec.transform}", allowed=f"{known} in the engine", hint=hint)
