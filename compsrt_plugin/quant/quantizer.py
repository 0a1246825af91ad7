"""`Quantizer`: bounds l, u and scalar decomposition alpha, beta of one tensor, and its fake quantization."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.ops.quantized_product import Operand, fake_quantized
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.fake import CODES, MIN_SCALE, CodeMode, Grid, dequantize, largest_magnitude, scale_of_bounds
from compsrt_plugin.quant.precision import widened
from compsrt_plugin.quant.spec import QuantSpec
from compsrt_plugin.quant.transforms import TRANSFORMS, Transform

ZERO_POINT_STEPS = 4  # steps of an aligned zero point within one scale
MOST_COUNTED = 1 << 16  # widest range of codes that is counted with one counter per code: 512 KiB


class Mode(Enum):
    """What a quantizer does with the tensors that pass through it."""

    OFF = "off"  # nothing: the full-precision network, bit for bit
    OBSERVE = "observe"  # full precision; values are gathered for the bound search
    ON = "on"  # quantize


class Quantizer(nn.Module):
    """Fake quantizer of one tensor in the domain of its spec.

    Args:
        spec: bits, transform, granularity, code mode.
        rows: number of rows of a per-channel weight; 1 for one scale per tensor.
        like: tensor whose device and dtype the bounds get; None: float32 on torch's default device.

    Attributes:
        lower, upper: bounds l, u in the domain, shape () or (rows, 1).
        alpha, beta: scalar decomposition, same shape, initially 0; None without it.
        name: its place in the network, as in overrides; set by `convert`.
        mode: see `Mode`; a new quantizer is off.
        samples: the gathered values while observing, else None.
        twin: (quantizer,) that sees the same tensor in the same domain and whose samples are used instead; a tuple,
            because torch would register a bare module as a child.
        codes_seen: the distinct codes so far while they are counted, else None.
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
        """Return one line for BasicSR's network print-out."""
        spec = self.spec
        return f"{spec.bits} bits, {spec.transform}, {spec.granularity}, {spec.codes}"

    @property
    def domain(self) -> Transform:
        """The transform between the tensor and the domain in which it is quantized."""
        return TRANSFORMS[self.spec.transform]

    @property
    def code_mode(self) -> CodeMode:
        """The way from values to codes."""
        return CODES[self.spec.codes]

    @property
    def per_token(self) -> bool:
        """Whether bounds, scale and zero point are in units of the `largest_magnitude` of each vector."""
        return self.spec.granularity == "per_token"

    def set_bounds(self, lower: float | Tensor, upper: float | Tensor) -> None:
        """Set l and u, and alpha = beta = 0; scalars, or (rows, 1) per channel."""
        with torch.no_grad():
            for bound, value in ((self.lower, lower), (self.upper, upper)):
                bound.copy_(torch.as_tensor(value, dtype=bound.dtype, device=bound.device))
            if self.alpha is not None and self.beta is not None:
                self.alpha.zero_()
                self.beta.zero_()

    def scale_and_zero_point(self) -> tuple[Tensor, Tensor]:
        """Return s = (u - l) / (2^bits - 1) + alpha, at least 1e-8, and Z = l + beta, aligned if the spec says so.

        Both are in float32 at least, since 1e-8 is 0 in half precision.
        """
        zero_point = widened(self.lower)
        scale = scale_of_bounds(zero_point, widened(self.upper), self.spec.bits)
        if self.alpha is not None and self.beta is not None:
            scale, zero_point = scale + self.alpha, zero_point + self.beta
        scale = scale.clamp_min(MIN_SCALE)
        if self.spec.aligned_zero_point:
            step = (scale / ZERO_POINT_STEPS).detach()
            aligned = (zero_point.detach() / step).round() * step
            zero_point = aligned + (zero_point - zero_point.detach())  # straight through
        return scale, zero_point

    def grid(self, x: Tensor) -> Grid:
        """Return the grid of codes for x, in the domain; with per-token scales, one scale for each vector of x."""
        scale, zero_point = self.scale_and_zero_point()
        if self.per_token:
            unit = largest_magnitude(x)
            scale, zero_point = scale * unit, zero_point * unit
        return Grid(scale, zero_point, widened(self.lower), widened(self.upper), self.spec.levels - 1)

    def transform(self, x: Tensor) -> Tensor:
        """Take x (..., d) to the domain: (..., m), m = d without a transform; in float32 at least."""
        return self.domain.forward(widened(x))

    def inverse(self, x: Tensor, width: int) -> Tensor:
        """Take (..., m) back to (..., width)."""
        return self.domain.inverse(x, width)

    def quantize(self, x: Tensor) -> Tensor:
        """Fake-quantize x, already in the domain; same shape, in float32 at least."""
        x = widened(x)
        if self.codes_seen is not None:
            self.codes_seen |= distinct_values(self.codes(x.detach()))
        if self.code_mode.operator:
            scale, zero_point = self.scale_and_zero_point()
            return fake_quantized(Operand(x, scale, zero_point, self.spec.levels - 1, per_token=self.per_token))
        return self.code_mode.fake_quantize(x, self.grid(x))

    def codes(self, x: Tensor) -> Tensor:
        """Return the integers r of x (in the domain) as a floating tensor of the same shape."""
        x = widened(x)
        return self.code_mode.codes(x, self.grid(x))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the values s r + Z of integer codes, in the domain."""
        scale, zero_point = self.scale_and_zero_point()
        return dequantize(codes.to(scale.dtype), scale, zero_point)

    def can_share_samples(self, other: Quantizer) -> bool:
        """Return whether both gather the same values for their bound searches if both see the same tensor."""
        return self.spec.transform == other.spec.transform and self.per_token == other.per_token

    @property
    def sampler(self) -> Quantizer:
        """The quantizer that gathers the samples of this one: itself or its twin."""
        return self.twin[0] if self.twin else self

    def observe(self, x: Tensor) -> None:
        """Gather x (..., d) for the bound search; do nothing without `samples`.

        Raises:
            CompSRTError: x holds NaN or infinity; the message names the quantizer.
        """
        if self.samples is None:
            return
        try:
            values = self.transform(x.detach())
            self.samples.add(values / largest_magnitude(values) if self.per_token else values)
        except ValueError as error:
            raise CompSRTError(f"calibration, {self.name}: {error}") from error

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Load the bounds, and switch on if they have been searched (not all are 0), else off."""
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        bounds = [state_dict.get(f"{prefix}{name}") for name in ("lower", "upper")]
        known = [bound for bound in bounds if bound is not None and holds_values(bound)]
        if known:
            self.mode = Mode.ON if any(bool(bound.any()) for bound in known) else Mode.OFF

    def forward(self, x: Tensor) -> Tensor:
        """Take x (..., d) to the domain, fake-quantize it and take it back: (..., d); x itself unless on."""
        if self.mode is Mode.OBSERVE:
            self.observe(x)
        if self.mode is not Mode.ON:
            return x
        wide = widened(x)
        if self.has_operator:
            return fake_quantized(self.operand(wide, invert=True)).to(x.dtype)
        return self.inverse(self.quantize(self.transform(wide)), x.shape[-1]).to(x.dtype)

    @property
    def has_operator(self) -> bool:
        """Whether an operator computes this quantizer; not while codes are counted, which it does not return."""
        return self.code_mode.operator and self.codes_seen is None

    def operand(self, x: Tensor, invert: bool) -> Operand:
        """Return x (..., d) as an operand of a product, in the domain or, with `invert`, taken back from it."""
        grid = (*self.scale_and_zero_point(), self.spec.levels - 1)
        return Operand(x, *grid, self.spec.transform, invert, self.per_token)


def holds_values(x: Tensor) -> bool:
    """Return whether a tensor has values; on the meta device and in a trace it has none."""
    return not x.is_meta and not isinstance(x, FakeTensor)


def distinct_values(codes: Tensor) -> set[int]:
    """Return the distinct values of integer-valued `codes`."""
    if codes.numel() == 0:
        return set()
    codes = codes.to(torch.int64).flatten()
    lowest, highest = (int(bound) for bound in torch.aminmax(codes))
    if highest - lowest > MOST_COUNTED:  # a collapsed alpha spreads `paper` codes over 10^8
        return set(codes.unique().tolist())
    counts = torch.bincount(codes - lowest)  # faster than the sort of `unique`
    return set((counts.nonzero().flatten() + lowest).tolist())
