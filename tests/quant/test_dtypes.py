"""All dtypes on all available devices: the same codes, and results of that dtype."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from compsrt_plugin.quant import Mode, Quantizer, QuantSpec, product, weighted_sum

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
TOKENS, WIDTH, KEYS = 40, 60, 16


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float64)


def quantizer_for(spec: QuantSpec, like: Tensor) -> Quantizer:
    """Return a quantizer that is on, with the device and dtype of `like`."""
    made = Quantizer(spec, rows=len(like), like=like)
    lower, upper = torch.tensor(-1.25), 1.0  # exact in every dtype
    if spec.granularity == "per_channel":
        lower = lower - torch.arange(len(like))[:, None] / 64
    if spec.granularity == "per_token":  # a token's largest value is not on the upper edge
        lower, upper = torch.tensor(-0.75), 0.875
    made.set_bounds(lower, upper)
    made.mode = Mode.ON
    return made


def allowed(dtype: torch.dtype) -> tuple[float, float]:
    """Return relative and absolute tolerance: sums of 64 terms in float32 at least, rounded once to the dtype."""
    computed, kept = (torch.finfo(d).eps for d in (torch.promote_types(dtype, torch.float32), dtype))
    return kept, max(64 * computed, kept)


def compared(quantizer: Quantizer, x: Tensor) -> tuple[Tensor, Quantizer, Tensor]:
    """Return x and its quantizer in float64 on the CPU, and which vectors have no value on an edge between codes."""
    exact, wide = copy.deepcopy(quantizer).cpu().double(), x.detach().cpu().double()
    found, wanted = (q.codes(q.transform(v)).detach().cpu().double() for q, v in ((quantizer, x), (exact, wide)))
    grid = exact.grid(exact.transform(wide))
    half_steps = 2 * ((exact.transform(wide) - grid.zero_point) / grid.scale).detach()
    # codes change at odd ones, and the range ends at even ones
    inside = ((half_steps - half_steps.round()).abs() > 1e-5).all(-1)
    # of the few values that bfloat16 has some lie on edges
    assert inside.double().mean() > 0.7 and torch.equal(found[inside], wanted[inside])
    return wide, exact, inside


@DTYPES
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed", "hadamard_block", "hadamard_exact"])
@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel", "per_token"])
def test_a_quantizer(device: torch.device, dtype: torch.dtype, transform: str, granularity: str):
    x = random(TOKENS, WIDTH).to(device, dtype).requires_grad_()
    quantizer = quantizer_for(QuantSpec(3, transform, granularity=granularity), x)
    wide, exact, inside = compared(quantizer, x)
    wide.requires_grad_()
    found, wanted = quantizer(x), exact(wide)
    assert (found.device.type, found.dtype) == (device.type, dtype)
    weights = random(TOKENS, WIDTH, seed=1)
    (found * weights.to(found)).sum().backward()
    (wanted * weights.to(dtype).double()).sum().backward()
    assert x.grad.dtype == dtype and quantizer.lower.grad.dtype == dtype
    near, apart = allowed(dtype)
    for ours, theirs in ((found, wanted), (x.grad, wide.grad)):
        torch.testing.assert_close(ours.detach().cpu().double()[inside], theirs.detach()[inside], rtol=near, atol=apart)


@DTYPES
@pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])
def test_a_product(device: torch.device, dtype: torch.dtype, granularity: str):
    left, right = random(TOKENS, WIDTH).to(device, dtype), random(KEYS, WIDTH, seed=1).to(device, dtype)
    quantizers = [quantizer_for(QuantSpec(4, "hadamard", granularity=granularity), x) for x in (left, right)]
    found = product(left, right, *quantizers)
    assert (found.device.type, found.dtype) == (device.type, dtype)
    (a, exact_a, rows), (b, exact_b, columns) = (compared(q, x) for q, x in zip(quantizers, (left, right)))
    near, apart = allowed(dtype)
    ours, theirs = found.detach().cpu().double(), product(a, b, exact_a, exact_b).detach()
    torch.testing.assert_close(ours[rows][:, columns], theirs[rows][:, columns], rtol=near, atol=apart)


@DTYPES
def test_a_weighted_sum(device: torch.device, dtype: torch.dtype):
    attention, values = (
        random(TOKENS, KEYS).softmax(-1).to(device, dtype),
        random(KEYS, WIDTH, seed=1).to(device, dtype),
    )
    quantizers = [quantizer_for(QuantSpec(4, "hadamard_softmax"), attention), quantizer_for(QuantSpec(4), values)]
    found = weighted_sum(attention, values, *quantizers)
    assert (found.device.type, found.dtype) == (device.type, dtype)
    (a, exact_a, rows), (b, exact_b, whole) = (compared(q, x) for q, x in zip(quantizers, (attention, values)))
    assert whole.all()
    near, apart = allowed(dtype)
    ours, theirs = found.detach().cpu().double(), weighted_sum(a, b, exact_a, exact_b).detach()
    torch.testing.assert_close(ours[rows], theirs[rows], rtol=near, atol=apart)
