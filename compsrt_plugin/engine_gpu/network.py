"""A whole SwinIR as tensors: blocks, convolutions and norms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compsrt_plugin.engine.describe import blocks_of, conv_weight
from compsrt_plugin.engine_gpu.block import Block, Form, block_tensors, form_of, norm_numbers
from compsrt_plugin.engine_gpu.fold import floats, padded, tile


@dataclass(frozen=True)
class Conv:
    """A 3×3 convolution.

    Attributes:
        weight: halves (2, 9, outputs, inputs), see `convolution_kernel`.
        rows: float32 (2, outputs): α and bias.
        slope: of the leaky ReLU behind it; 1 for none.
    """

    weight: Tensor
    rows: Tensor
    slope: float

    def to(self, device: torch.device) -> Conv:
        """Return the convolution with its tensors on a device."""
        return replace(self, weight=self.weight.to(device), rows=self.rows.to(device))

    @property
    def inputs(self) -> int:
        """Channels that it takes, likewise."""
        return self.weight.shape[3]

    @property
    def outputs(self) -> int:
        """Channels that it makes, those that fill up included."""
        return self.weight.shape[2]


@dataclass(frozen=True)
class Network:
    """Tensors of a network on a device; channels are filled up with zeros to powers of two.

    Attributes:
        form: of all blocks.
        first, tail, upsample: convolutions; the input's range is in the first and the last, the mean in the last.
        groups: blocks and convolutions of each.
        patch_norm, last_norm: weight, bias and epsilon; None without patch norm.
        mean: of the input, (in_channels,).
        scale, in_channels: of the network.
    """

    form: Form
    first: Conv
    groups: list[tuple[list[Block], list[Conv]]]
    tail: list[Conv]
    upsample: Conv
    patch_norm: Tensor | None
    last_norm: Tensor
    mean: Tensor
    scale: int
    in_channels: int


def network_tensors(network: Any, device: torch.device) -> Network:
    """Return the tensors of a network that `check_limits` passed."""
    form = form_of(blocks_of(network)[0])
    norm, in_channels = network.patch_embed.norm, conv_weight(network.conv_first).shape[1]
    mean = network.mean.detach().to(device, torch.float32).reshape(-1).expand(in_channels)
    (first,), (last,) = _convs(network.conv_first, device), _convs(network.upsample[0], device)
    shift = torch.zeros_like(last.rows)  # the mean, added to the colours again, behind all α
    shift[1, : in_channels * network.upscale**2] = mean.repeat_interleave(network.upscale**2)
    groups = [
        ([block_tensors(block, form).to(device) for block in layer.residual_group.blocks], _convs(layer.conv, device))
        for layer in network.layers
    ]
    return Network(
        form=form,
        first=replace(first, rows=first.rows * torch.tensor([[network.img_range], [1.0]], device=device)),
        groups=groups,
        tail=_convs(network.conv_after_body, device),
        upsample=replace(last, rows=last.rows / network.img_range + shift),
        patch_norm=None if norm is None else norm_numbers(norm, form.width).to(device),
        last_norm=norm_numbers(network.norm, form.width).to(device),
        mean=mean,
        scale=network.upscale,
        in_channels=in_channels,
    )


def _convs(module: nn.Module, device: torch.device) -> list[Conv]:
    """Describe a convolution, or a sequence of them with leaky ReLUs between."""
    convs: list[Conv] = []
    for part in module if isinstance(module, nn.Sequential) else [module]:
        if isinstance(part, nn.LeakyReLU):
            convs[-1] = replace(convs[-1], slope=part.negative_slope)
        else:
            convs.append(_conv(part).to(device))
    return convs


def _conv(conv: Any) -> Conv:
    weight = conv_weight(conv).double().numpy()
    whole = np.zeros((*weight.shape[:2], 3, 3))
    if weight.shape[2:] == (1, 1):
        whole[:, :, 1:2, 1:2] = weight
    else:
        whole[:] = weight
    outputs, inputs = weight.shape[:2]
    alpha = np.abs(whole).reshape(outputs, -1).max(1)
    alpha[alpha == 0] = 1.0
    taps = (whole / alpha[:, None, None, None]).transpose(2, 3, 0, 1).reshape(9, outputs, inputs)
    taps = padded(taps, 9, tile(outputs), tile(inputs))
    high = taps.astype(np.float16)
    low = (taps - high.astype(np.float64)).astype(np.float16)
    bias = np.zeros(outputs) if conv.bias is None else conv.bias.detach().cpu().double().numpy()
    rows = padded(np.stack([alpha, bias]), 2, tile(outputs))
    return Conv(torch.from_numpy(np.stack([high, low])), floats(rows), 1.0)
