"""Check that weights fit a network, and explain in the user's terms if they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.weights import DERIVED_BUFFERS


def check_matches(weights: Mapping[str, torch.Tensor], network: nn.Module, source: str | Path) -> None:
    """Check that `weights` fit `network` exactly: same names, same shapes, same kinds of numbers, all finite.

    Buffers that a network derives itself (`DERIVED_BUFFERS`, and non-persistent ones) are ignored.

    Args:
        weights: as `load_weights` returns them.
        network: full precision, not yet converted.
        source: path or URL of the file, for the message.

    Raises:
        CompSRTError: the weights are for another scale, for another network (the message counts the differences), or
            not finite.
    """
    derived = {name for name, _ in network.named_buffers()} - network.state_dict().keys()
    given = {name: tensor for name, tensor in weights.items() if name not in derived}
    found, expected = _essential(given), _essential(network.state_dict())
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    shared = [name for name in expected if name in found]
    reshaped = [name for name in shared if found[name].shape != expected[name].shape]
    integer = [name for name in shared if expected[name].is_floating_point() and not found[name].is_floating_point()]
    trained = {name for name, _ in network.named_parameters()}
    spoilt = [name for name in shared if name in trained and not found[name].isfinite().all()]
    different = [*missing, *unknown, *reshaped, *integer, *spoilt]
    if not different:
        return
    kind = type(network).__name__
    if not shared:
        raise CompSRTError(
            f"{source} is not a {kind}: none of its {len(found)} tensors has a known name "
            f"(first {_first(unknown)}, expected {_first(missing)})",
            hint=f"use weights of {kind}",
        )
    scale, wanted = _scale(found), _scale(expected)
    other_scale = bool(scale and wanted and scale != wanted)
    if other_scale and all(name.startswith("upsample.") for name in different):
        raise CompSRTError(
            f"{source} is a x{scale} network, x{wanted} expected",
            hint=f"use weights for x{wanted}, or set scale and network_g.upscale to {scale}",
        )
    reasons = [f"it is a x{scale} network, x{wanted} expected"] if other_scale else []
    if reshaped:
        first = reshaped[0]
        reasons.append(
            f"{len(reshaped)} of {len(expected)} tensors have another shape "
            f"(first {first}: {_shown(found[first])}, expected {_shown(expected[first])})"
        )
    if missing:
        reasons.append(f"{len(missing)} of {len(expected)} tensors are missing (first {_first(missing)})")
    if unknown:
        reasons.append(f"{len(unknown)} tensors are unknown (first {_first(unknown)})")
    if integer:
        reasons.append(f"{len(integer)} tensors hold integers, not floating-point (first {_first(integer)})")
    if spoilt and not reasons:
        raise CompSRTError(
            f"{source} fits this {kind}, but {len(spoilt)} tensors hold NaN or infinity (first {_first(spoilt)})",
            allowed="finite weights",
            hint="the training that wrote it diverged: use an earlier file",
        )
    if spoilt:
        reasons.append(f"{len(spoilt)} tensors hold NaN or infinity (first {_first(spoilt)})")
    raise CompSRTError(
        f"{source} does not fit this {kind}: {', '.join(reasons)}",
        hint="use weights of this network, or correct network_g (embed_dim, depths, mlp_ratio, upsampler)",
    )


def _essential(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(DERIVED_BUFFERS)}


def _scale(tensors: Mapping[str, torch.Tensor]) -> int | None:
    """Return the scale of a network with BasicSR's upsampler, or None if it has another.

    Each of its convolutions `upsample.N` (out, in, 3, 3) feeds a pixel shuffle by r = √(out / remaining). The remaining
    channels are those of the image for the last convolution, else `in`.
    """
    convs = [t.shape for n, t in tensors.items() if n.startswith("upsample.") and t.ndim == 4 and t.numel()]
    first = tensors.get("conv_first.weight")
    if not convs or first is None or first.ndim != 4 or not first.numel():
        return None
    last = "conv_last.weight" not in tensors
    ratios = [shape[0] / first.shape[1] if last else shape[0] / shape[1] for shape in convs]
    scale = math.sqrt(math.prod(ratios))
    return int(scale) if scale.is_integer() and scale >= 1 else None


def _shown(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _first(names: list[str]) -> str:
    return names[0][:80] if names else "none"
