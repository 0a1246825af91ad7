"""`Quantizer`: one tensor's bounds l, u and scalar decomposition alpha, beta, and what it does to a tensor."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import fused, operators
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.fake import (
    MIN_SCALE,
    dequantize,
    integer_codes,
    magnitude,
    paper_codes,
    paper_fake_quantize,
    strict_fake_quantize,
)
from compsrt_plugin.quant.precision import in_full_precision, widened
from compsrt_plugin.quant.spec import QuantSpec
from compsrt_plugin.quant.transforms.registry import FORWARD_AND_INVERSE

ZERO_POINT_STEPS = 4  # of an aligned zero point in one scale
MOST_COUNTED = 1 << 16  # width of the range of codes that are counted one by one: 512 KiB


class Mode(Enum):
    """What a quantizer does with the tensors that pass through it."""

    OFF = "off"  # nothing: the full-precision network, bit for bit
    OBSERVE = "observe"  # full precision, values gathered for the bound search
    ON = "on"  # quantize


class Quantizer(nn.Module):
    """Fake quantizer of one tensor in the domain its spec names.

    Args:
        spec: bits, transform, granularity, code mode.
        rows: number of rows of a per-channel weight; 1 for one scale per tensor.
        like: the tensor whose device and dtype the bounds have; None: float32 on torch's default device.

    Attributes:
        lower, upper: bounds l, u in the transformed domain, shape () or (rows, 1).
        alpha, beta: scalar decomposition, same shape, 0 at the start; None without it.
        name: its place in the network, as in overrides; set by `convert`.
        mode: see `Mode`; a new quantizer is off.
        samples: the gathered values while observing, else None.
        twin: (quantizer,) that sees the same tensor in the same domain, whose samples are used; a tuple, since
            torch would take a bare module for a child.
        codes_seen: the distinct codes met so far while somebody counts them, else None.
    """

    alpha: nn.Parameter | None
    beta: nn.Parameter | None

    def __init__(self, spec: QuantSpec, rows: int = 1, like: Tensor | None = None) -> None:
        super().__init__()
        shape = (rows, 1) if spec.granularity == "per_channel" else ()
        self.spec = spec
        device, dtype = (None, torch.float32) if like is None else (like.device, like.dtype)

        def zeros() -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))

        self.lower, self.upper = zeros(), zeros()
        if spec.scalar_decomposition:
            self.alpha, self.beta = zeros(), zeros()
        else:
            self.alpha = self.beta = None
        self.name = ""
        self.mode = Mode.OFF
        self.samples: Samples | None = None
        self.twin: tuple[Quantizer] | None = None
        self.codes_seen: set[int] | None = None

    def extra_repr(self) -> str:
        """One line for BasicSR's network print-out."""
        spec = self.spec
        return f"{spec.bits} bits, {spec.transform}, {spec.granularity}, {spec.codes}"

    def set_bounds(self, lower: float | Tensor, upper: float | Tensor) -> None:
        """Set l and u, and alpha = beta = 0; scalars, or (rows, 1) per channel."""
        with torch.no_grad():
            for bound, value in ((self.lower, lower), (self.upper, upper)):
                bound.copy_(torch.as_tensor(value, dtype=bound.dtype, device=bound.device))
            if self.alpha is not None and self.beta is not None:
                self.alpha.zero_()
                self.beta.zero_()

    def scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        """Return s = (u - l) / (2^bits - 1) + alpha, kept above 1e-8, and Z = l + beta, aligned if the spec says so.

        They have float32 at least: 1e-8 is 0 in half precision.
        """
        zero_point = widened(self.lower)
        scale = (widened(self.upper) - zero_point) / (self.spec.levels - 1)
        if self.alpha is not None and self.beta is not None:
            scale, zero_point = scale + self.alpha, zero_point + self.beta
        scale = scale.clamp_min(MIN_SCALE)
        if self.spec.aligned_zero_point:
            step = (scale / ZERO_POINT_STEPS).detach()
            aligned = (zero_point.detach() / step).round() * step
            zero_point = aligned + (zero_point - zero_point.detach())  # straight through
        return scale, zero_point

    def transform(self, x: Tensor) -> Tensor:
        """Take x (..., d) to the quantizer's domain: (..., m), m = d without a transform; in float32 at least."""
        return FORWARD_AND_INVERSE[self.spec.transform][0](widened(x))

    def inverse(self, x: Tensor, width: int) -> Tensor:
        """Take (..., m) back to (..., width)."""
        return FORWARD_AND_INVERSE[self.spec.transform][1](x, width)

    def quantize(self, x: Tensor) -> Tensor:
        """Fake-quantize x, already in the quantizer's domain; same shape, in float32 at least."""
        x = widened(x)
        if self.codes_seen is not None:
            self.codes_seen |= distinct_values(self.codes(x.detach()))
        scale, zero_point = self.scale_and_zero_point()
        if self.spec.codes == "paper":
            return paper_fake_quantize(x, widened(self.lower), widened(self.upper), scale, zero_point)
        if operators.fit(x, "none"):
            operand = fused.Operand(x, scale, zero_point, self.spec.levels - 1, per_token=self.per_token)
            return fused.fake_quantize(operand)
        return strict_fake_quantize(x, *self._for_tokens(x, scale, zero_point), self.spec.levels - 1)

    def codes(self, x: Tensor) -> Tensor:
        """Return the integers r of x (in the quantizer's domain) as a floating tensor of the same shape."""
        x = widened(x)
        scale, zero_point = self.scale_and_zero_point()
        if self.spec.codes == "paper":
            return paper_codes(x, widened(self.lower), widened(self.upper), scale, zero_point)
        return integer_codes(x, *self._for_tokens(x, scale, zero_point), self.spec.levels - 1)

    @property
    def per_token(self) -> bool:
        """Whether bounds, scale and zero point are in units of each vector's `magnitude`."""
        return self.spec.granularity == "per_token"

    def _for_tokens(self, x: Tensor, scale: Tensor, zero_point: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and Z of each vector of x, in the quantizer's domain; as they are unless `per_token`."""
        if not self.per_token:
            return scale, zero_point
        unit = magnitude(x)
        return scale * unit, zero_point * unit

    def decode(self, codes: Tensor) -> Tensor:
        """Return the values s r + Z of integer codes, in the quantizer's domain."""
        scale, zero_point = self.scale_and_zero_point()
        return dequantize(codes.to(scale.dtype), scale, zero_point)

    def gathers_alike(self, other: Quantizer) -> bool:
        """Whether both gather the same values for their bound searches where both see the same tensor."""
        return self.spec.transform == other.spec.transform and self.per_token == other.per_token

    @property
    def sampler(self) -> Quantizer:
        """The quantizer that gathers this one's samples: itself or its twin."""
        return self.twin[0] if self.twin else self

    def observe(self, x: Tensor) -> None:
        """Gather x (..., d) for the bound search, if asked to.

        Raises:
            CompSRTError: if x holds NaN or infinity; names the quantizer.
        """
        if self.samples is None:
            return
        try:
            values = self.transform(x.detach())
            self.samples.add(values / magnitude(values) if self.per_token else values)
        except ValueError as error:
            raise CompSRTError(f"calibration, {self.name}: {error}") from error

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Load the bounds; where they have been searched (they are not all 0) the quantizer is on, else off."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        bounds = [state_dict.get(f"{prefix}{name}") for name in ("lower", "upper")]
        known = [bound for bound in bounds if bound is not None and holds_values(bound)]
        if known:
            self.mode = Mode.ON if any(bool(bound.any()) for bound in known) else Mode.OFF

    def forward(self, x: Tensor) -> Tensor:
        """Take x (..., d) to the domain, fake-quantize it and come back: (..., d); x itself unless on."""
        if self.mode is Mode.OBSERVE:
            self.observe(x)
        if self.mode is not Mode.ON:
            return x
        wide = widened(x)
        if self.fuses(wide, invert=True):
            return fused.fake_quantize(self.operand(wide, invert=True)).to(x.dtype)
        return self.inverse(self.quantize(self.transform(wide)), x.shape[-1]).to(x.dtype)

    def fuses(self, x: Tensor, invert: bool) -> bool:
        """Tell whether `operand(x, invert)` can be had in one pass; not while codes are counted."""
        complete = invert or self.spec.transform != "hadamard_softmax"
        countless = self.spec.codes == "strict" and self.codes_seen is None
        return complete and countless and operators.fit(x, self.spec.transform)

    def operand(self, x: Tensor, invert: bool) -> fused.Operand:
        """Return x (..., d) as an operand of `fused`, in this quantizer's domain or, if `invert`, taken back."""
        grid = (*self.scale_and_zero_point(), self.spec.levels - 1)
        return fused.Operand(x, *grid, self.spec.transform, invert, self.per_token)


def holds_values(x: Tensor) -> bool:
    """Tell whether a tensor has values, other than on the meta device or in a trace."""
    return not x.is_meta and not isinstance(x, FakeTensor)


def distinct_values(codes: Tensor) -> set[int]:
    """Return the distinct values of integer-valued `codes`."""
    if codes.numel() == 0:
        return set()
    codes = codes.to(torch.int64).flatten()
    lowest, highest = (int(bound) for bound in torch.aminmax(codes))
    if highest - lowest > MOST_COUNTED:  # a collapsed alpha of `paper` codes spreads them over 10^8
        return set(codes.unique().tolist())
    return set((torch.bincount(codes - lowest).nonzero().flatten() + lowest).tolist())  # beats the sort of `unique`


def apply_quantizer(quantizer: Quantizer | None, x: Tensor) -> Tensor:
    """Return `quantizer(x)`, or x where the operand is kept in full precision (None)."""
    return x if quantizer is None else quantizer(x)


def share_domain(a: Quantizer | None, b: Quantizer | None) -> bool:
    """Whether a product of two quantized operands can be taken in the domain in which they are quantized.

    It can with one orthonormal transform on both and strict codes: Q(x H) Q(w H)^T needs no inverse and no
    crop, and is the true product of integers that a low-bit engine computes. Published code transforms back.
    """
    return (
        a is not None
        and b is not None
        and a.mode is b.mode is Mode.ON
        and a.spec.transform == b.spec.transform
        and a.spec.codes == b.spec.codes == "strict"
    )


def product(left: Tensor, right: Tensor, left_quantizer: Quantizer | None, right_quantizer: Quantizer | None) -> Tensor:
    """Return left @ right^T of two quantized operands, contracted over the last axis of both.

    Args:
        left: (..., n, k).
        right: (..., m, k).
        left_quantizer, right_quantizer: None keeps that operand in full precision.

    Returns:
        (..., n, m).
    """
    if not any_on(left_quantizer, right_quantizer):
        return apply_quantizer(left_quantizer, left) @ apply_quantizer(right_quantizer, right).transpose(-2, -1)

    def compute(left: Tensor, right: Tensor) -> Tensor:
        if share_domain(left_quantizer, right_quantizer):
            assert left_quantizer is not None and right_quantizer is not None
            if left_quantizer.fuses(left, False) and right_quantizer.fuses(right, False):
                return fused.product(left_quantizer.operand(left, False), right_quantizer.operand(right, False), True)
            left = left_quantizer.quantize(left_quantizer.transform(left))
            right = right_quantizer.quantize(right_quantizer.transform(right))
            return left @ right.transpose(-2, -1)
        return apply_quantizer(left_quantizer, left) @ apply_quantizer(right_quantizer, right).transpose(-2, -1)

    return in_full_precision(compute, left, right)


def weighted_sum(
    weights: Tensor, values: Tensor, weight_quantizer: Quantizer | None, value_quantizer: Quantizer | None
) -> Tensor:
    """Return weights @ values of two quantized operands, each taken back from its own domain first.

    Args:
        weights: (..., n, m), such as a softmax map.
        values: (..., m, d).
        weight_quantizer, value_quantizer: None keeps that operand in full precision.

    Returns:
        (..., n, d).
    """
    if not any_on(weight_quantizer, value_quantizer):
        return apply_quantizer(weight_quantizer, weights) @ apply_quantizer(value_quantizer, values)

    def compute(weights: Tensor, values: Tensor) -> Tensor:
        if weight_quantizer is not None and value_quantizer is not None:
            on = weight_quantizer.mode is value_quantizer.mode is Mode.ON
            if on and weight_quantizer.fuses(weights, True) and value_quantizer.fuses(values, True):
                operands = weight_quantizer.operand(weights, True), value_quantizer.operand(values, True)
                return fused.product(*operands, False)
        return apply_quantizer(weight_quantizer, weights) @ apply_quantizer(value_quantizer, values)

    return in_full_precision(compute, weights, values)


def any_on(*quantizers: Quantizer | None) -> bool:
    """Whether one of them quantizes; if not, a product is the full-precision network's, autocast and all."""
    return any(quantizer is not None and quantizer.mode is Mode.ON for quantizer in quantizers)
