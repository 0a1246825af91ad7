"""One forward pass: the kernels, launched one after the other on buffers of one shape of input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin.engine_gpu.block import Block
from compsrt_plugin.engine_gpu.kernels.attention import attention_kernel
from compsrt_plugin.engine_gpu.kernels.convolution import convolution_kernel
from compsrt_plugin.engine_gpu.kernels.tokens import norm_kernel, tokens_kernel
from compsrt_plugin.engine_gpu.network import Conv, Network
from compsrt_plugin.engine_gpu.plan import Plan

NORM_TOKENS, NORM_WARPS = 16, 4
ATTENTION: Any = attention_kernel  # for type checkers: what a kernel takes is Triton's affair
TOKENS: Any = tokens_kernel
NORM: Any = norm_kernel
CONVOLUTION: Any = convolution_kernel


class Forward:
    """A network on pictures of one shape, (b, c, h, w).

    Args:
        network: its tensors, on the device of the pictures.
        plan: how the kernels are launched.
        shape: of the input.
    """

    def __init__(self, network: Network, plan: Plan, shape: tuple[int, ...]) -> None:
        self.network, self.plan = network, plan
        self.batch, _, self.height, self.width = shape
        self.tokens = self.batch * self.height * self.width
        device = network.mean.device
        self._attended = torch.zeros(self.tokens, network.form.attended, device=device)
        self._given = torch.zeros(self.batch, self.height, self.width, network.first.inputs, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        """Return (b, c, h · scale, w · scale) of x (b, c, h, w), float32, on the same device."""
        network = self.network
        torch.sub(x.permute(0, 2, 3, 1), network.mean, out=self._given[..., : network.in_channels])
        shallow = self.convolve(network.first, self._given)
        deep = shallow if network.patch_norm is None else self._norm(shallow, network.patch_norm)
        for blocks, convs in network.groups:
            before, after = deep, torch.empty_like(deep)
            for block in blocks:
                self.attend(block, deep)
                self.finish(block, deep, after)
                deep = after
            deep = self._convolve(convs, deep, before)
        deep = self._convolve(network.tail, self._norm(deep, network.last_norm), shallow)
        pixels = self.convolve(network.upsample, deep)
        pixels = pixels[..., : network.in_channels * network.scale**2].permute(0, 3, 1, 2)
        return F.pixel_shuffle(pixels, network.scale).contiguous()

    def attend(self, block: Block, x: Tensor) -> None:
        """Run a block's attention on x (b, h, w, width); what comes out waits for `finish`."""
        form, program = self.network.form, self.plan.attention
        windows = self.tokens // form.window**2
        ATTENTION[(windows, form.heads // program.size)](
            x,
            self._attended,
            *block.of_attention,
            self.height,
            self.width,
            block.shift,
            WINDOW=form.window,
            CHANNELS=form.channels,
            WIDTH=form.width,
            DOMAIN=form.qkv_domain,
            ALL_HEADS=form.heads,
            HEADS=program.size,
            HEAD=form.head,
            HEAD_DOMAIN=form.head_domain,
            OUT_WIDTH=form.attended,
            MAP=form.map,
            IN_UNITS=form.attention_units,
            BYTES=program.bytes,
            **program.options,
        )

    def finish(self, block: Block, x: Tensor, out: Tensor) -> None:
        """Run the rest of a block on x (b, h, w, width); into `out`, which may be x."""
        form, program = self.network.form, self.plan.tokens
        TOKENS[(-(-self.tokens // program.size),)](
            x,
            out,
            self._attended,
            *block.of_tokens,
            self.tokens,
            TOKENS=program.size,
            CHANNELS=form.channels,
            WIDTH=form.width,
            ATTENDED=form.attended,
            HIDDEN=form.hidden,
            PROJ_DOMAIN=form.proj_domain,
            FC1_DOMAIN=form.fc1_domain,
            FC2_DOMAIN=form.fc2_domain,
            IN_UNITS=form.tokens_units,
            BYTES=program.bytes,
            **program.options,
        )

    def _norm(self, x: Tensor, norm: Tensor) -> Tensor:
        out, form = torch.empty_like(x), self.network.form
        NORM[(self.tokens // NORM_TOKENS,)](
            x, out, norm, TOKENS=NORM_TOKENS, CHANNELS=form.channels, WIDTH=form.width, num_warps=NORM_WARPS
        )
        return out

    def _convolve(self, convs: list[Conv], x: Tensor, residual: Tensor) -> Tensor:
        """Run convolutions on x (b, h, w, inputs), the residual added to the last one's output."""
        for conv in convs[:-1]:
            x = self.convolve(conv, x)
        return self.convolve(convs[-1], x, residual)

    def convolve(self, conv: Conv, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Run one convolution on x (b, h, w, inputs)."""
        out, program = torch.empty(*x.shape[:-1], conv.outputs, device=x.device), self.plan.pixels
        CONVOLUTION[(-(-self.tokens // program.size),)](
            x,
            x if residual is None else residual,
            out,
            conv.weight,
            conv.rows,
            self.tokens,
            self.height,
            self.width,
            conv.slope,
            PIXELS=program.size,
            INPUTS=conv.inputs,
            OUTPUTS=conv.outputs,
            RESIDUAL=residual is not None,
            **program.options,
        )
        return out
