"""Small frozen networks whose every part matters to the output, and how near the engine must come to them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import compsrt_plugin

compsrt_plugin.register()

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.config.quant_options import resolve  # noqa: E402
from compsrt_plugin.pruning import prune  # noqa: E402
from compsrt_plugin.quant import calibrate, fake, freeze, quantized_layers  # noqa: E402

ARCH: dict[str, Any] = {"depths": [2], "num_heads": [2], "embed_dim": 12, "img_size": 16, "upscale": 2}


def picture(height: int = 16, width: int = 16, batch: int = 1, seed: int = 1) -> Tensor:
    """Return noise that is not all alike: (batch, 3, height, width)."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def network(**options: Any) -> CompSRTSwinIR:
    """Return a frozen network, a copy of one's own.

    Args:
        bits, recipe and more: the `quant:` block.
        pruning: arguments of `prune`.
        arch: what differs from `ARCH`.
    """
    return copy.deepcopy(_network(json.dumps(options, sort_keys=True)))


@cache  # calibration takes longer than all the rest, and every level asks for the same networks
def _network(options: str) -> CompSRTSwinIR:
    quant = {"bits": 4, "recipe": "compsrt", **json.loads(options)}
    arch, pruning = {**ARCH, **quant.pop("arch", {})}, quant.pop("pruning", None)
    torch.manual_seed(0)
    made = CompSRTSwinIR(**arch).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("relative_position_bias_table"):
                parameter.normal_(0, 1)
            elif "norm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.2)
            elif "layers" in name and parameter.ndim == 2:
                parameter.normal_(0, parameter.shape[1] ** -0.5)
    made.quantize(resolve(quant, pruned=pruning is not None).spec)
    batches = [picture_for(arch, seed=2)]
    if pruning is not None:
        prune(made, batches=batches, **pruning)
    calibrate(made, batches)
    freeze(made)
    return made


def picture_for(arch: dict[str, Any], seed: int = 1) -> Tensor:
    """Return a picture of at least 2 × 2 windows and 14 × 14 pixels."""
    window = arch.get("window_size", 8)
    side = window * max(2, -(-14 // window))
    return picture(side, side, seed=seed)[:, : arch.get("in_chans", 3)]


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Return the root mean square difference, as a share of the output's spread."""
    assert ours.shape == theirs.shape
    return ((ours - theirs).square().mean().sqrt() / theirs.std()).item()


def in_double(made: CompSRTSwinIR, x: Tensor) -> Tensor:
    """Return the simulated network's output, computed in float64."""
    made = copy.deepcopy(made)
    for _, layer in quantized_layers(made):
        layer._decoded = None
    with torch.no_grad():
        return made.double()(x.double()).float()


def turned(made: CompSRTSwinIR, x: Tensor) -> Tensor:
    """Return `in_double` with every code turned that float32 may round to the other side.

    An engine that computes in float32 turns some of them, as PyTorch does when it adds in another order, and so the
    output differs by no more than about this.
    """
    met = 0

    def codes_turned(values: Tensor, scale: Tensor, zero_point: Tensor, top: int) -> Tensor:
        nonlocal met
        met += 1
        position = (values - zero_point) / scale
        below = position.floor()
        doubtful = (position - below - 0.5).abs() < FLOAT32 * (top + 1)
        codes = torch.where(doubtful, 2 * below + 1 - position.round(), position.round())
        return codes.clamp_(0, top)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake, "integer_codes", codes_turned)
        found = in_double(made, x)
    assert met
    return found


EXACT = 1e-5
"""A `distance` within which no code differs that counts: it is 3e-7 then. One that does makes it 1e-4 to 3e-3."""
FLOAT32 = 1e-6
"""What float32 loses up to a quantizer, as a share of its range."""
PICTURES, MOST_PICTURES = 2, 12


def assert_same_pixels(
    run: Callable[[Tensor], Tensor], made: CompSRTSwinIR, shape: tuple[int, ...] = (1, 3, 16, 16)
) -> None:
    """Assert that `run` gives the pixels of the simulated network in double precision.

    Every picture may differ by codes that lie on a rounding boundary, and by nothing else; on one at least no code
    may, so that a wrong computation has nothing to hide behind.

    Args:
        run: what is tried.
        made: the network.
        shape: of the pictures.
    """
    exact = False
    for seed in range(1, MOST_PICTURES + 1):
        x = picture(*shape[2:], seed=seed)[:, : shape[1]]
        wanted = in_double(made, x)
        found = distance(run(x), wanted)
        if found <= EXACT:
            exact = True
        else:
            assert found <= 2 * distance(turned(made, x), wanted), f"picture {seed}: {found:.2g}"
        if seed >= PICTURES and exact:
            return
    raise AssertionError(f"none of {MOST_PICTURES} pictures is the same")
