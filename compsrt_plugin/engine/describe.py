"""Describe a frozen SwinIR in the structures of the compiled library, or say why it cannot run there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compsrt_plugin.engine.attention import describe_attention
from compsrt_plugin.engine.fold import check_quantizer, describe_linear, floats, signs_of
from compsrt_plugin.engine.windows import LARGEST_WINDOW, WindowLanes, cell_lanes
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import Level
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant import Mode, QuantConv2d, named_quantizers, quantized_layers

PARTS = ("conv_first", "patch_embed", "layers", "norm", "conv_after_body", "upsampler", "img_range", "mean", "ape")
IN_ONE = "pixelshuffledirect"  # the upsampler that the compiled library has
HINT = "run the simulated network"


def is_swinir(network: nn.Module) -> bool:
    """Whether a network has the parts of a SwinIR."""
    return all(hasattr(network, part) for part in PARTS)


def check_network(network: nn.Module) -> None:
    """Raise if the engine cannot run a network.

    Raises:
        CompSRTError: not a SwinIR, not frozen, published codes, or an argument that is not supported; named.
    """
    if not is_swinir(network):
        raise CompSRTError(f"{type(network).__name__} has no engine", allowed="CompSRTSwinIR", hint=HINT)
    blocks = blocks_of(network)
    if not blocks or not hasattr(blocks[0].attn, "qkv") or not hasattr(blocks[0].attn, "map_quantizer"):
        raise CompSRTError("the network is not quantized", allowed="one rebuilt from a packed file", hint=HINT)
    for name, quantizer in named_quantizers(network):
        check_quantizer(name, quantizer)
        if quantizer.mode is not Mode.ON:
            raise CompSRTError(f"{name} is switched off", allowed="a network rebuilt from a packed file", hint=HINT)
    for number, block in enumerate(blocks):
        _check_signs(f"block {number}", block.attn)
    for name, layer in quantized_layers(network):
        if not layer.frozen:
            raise CompSRTError(f"{name} is not frozen", allowed="a network rebuilt from a packed file", hint=HINT)
        if isinstance(layer, QuantConv2d) and layer.input_quantizer is not None:
            raise CompSRTError(f"{name} has quantized inputs", allowed="conv_input_bits: null in the engine", hint=HINT)
    if network.ape:
        raise CompSRTError("ape: true has no engine", allowed="ape: false", hint=HINT)
    if blocks[0].window_size > LARGEST_WINDOW:
        found = f"window_size: {blocks[0].window_size} has no engine"
        raise CompSRTError(found, allowed=f"1 to {LARGEST_WINDOW}", hint=HINT)


def _check_signs(name: str, attention: Any) -> None:
    """Raise if sign vectors cannot be folded: those of q and k must cancel, and no layer computes the map."""
    q, k, map_ = (getattr(attention, f"{operand}_quantizer") for operand in ("q", "k", "map"))
    signed = [x is not None and x.spec.transform == "hadamard_signed" for x in (q, k, map_)]
    if signed[0] != signed[1]:
        raise CompSRTError(f"{name}: one of q and k has hadamard_signed", allowed="both or none", hint=HINT)
    if signed[2]:
        allowed = "none, hadamard, hadamard_softmax for the map in the engine"
        raise CompSRTError(f"{name}: map has transform: hadamard_signed", allowed=allowed, hint=HINT)


def blocks_of(network: Any) -> list[Any]:
    """Return all Swin blocks in order."""
    return [block for layer in network.layers for block in layer.residual_group.blocks]


def describe_network(network: Any, level: Level) -> c.Network:
    """Describe a network that `check_network` passed; the description owns copies of all it needs."""
    blocks = blocks_of(network)
    window = blocks[0].window_size
    split = next((block.shift_size for block in blocks if block.shift_size), window // 2)
    groups, owner = [], []
    for layer in network.layers:
        inner = [describe_block(block, window, split, level) for block in layer.residual_group.blocks]
        convs = _convs(layer.conv)
        groups.append(
            c.Group(blocks=len(inner), convs=len(convs), block=c.array_of(inner, owner), conv=c.array_of(convs, owner))
        )
    tail, first = _convs(network.conv_after_body), _convs(network.conv_first)
    upsample = _convs(network.upsample[0]) if network.upsampler == IN_ONE else []
    described = c.Network(
        channels=network.embed_dim,
        in_channels=first[0].inputs,
        window=window,
        split=split,
        lanes=cell_lanes(window, split),
        groups=len(groups),
        tail_convs=len(tail),
        scale=network.upscale if upsample else 1,
        out_channels=first[0].inputs if upsample else network.embed_dim,
        group=c.array_of(groups, owner),
        first=c.array_of(first, owner),
        tail=c.array_of(tail, owner),
        upsample=c.array_of(upsample, owner),
        patch_norm=c.Norm() if network.patch_embed.norm is None else _norm(network.patch_embed.norm),
        last_norm=_norm(network.norm),
        mean=floats(network.mean.reshape(-1).expand(first[0].inputs)),
        range=network.img_range,
    )
    described.kept.append(owner)
    return described


def describe_block(block: Any, window: int, split: int, level: Level) -> c.Block:
    """Describe one Swin block whose windows are split into cells in this way."""
    attention, shifted = block.attn, block.shift_size > 0
    qkv = attention.qkv
    head_dim = qkv.q.out_features // attention.num_heads
    q_signs, k_signs, v_signs = (
        np.tile(signs_of(quantizer, head_dim), attention.num_heads)
        for quantizer in (attention.q_quantizer, attention.k_quantizer, attention.v_quantizer)
    )
    qkv_signs, fc1_signs = (  # folded into the weight and bias of the norm before, where they cost nothing
        signs_of(getattr(layer, "input_quantizer", None), layer.in_features) for layer in (qkv.q, block.mlp.fc1)
    )
    return c.Block(
        shifted=int(shifted),
        hidden=block.mlp.fc1.out_features,
        norm1=_norm(block.norm1, qkv_signs),
        norm2=_norm(block.norm2, fc1_signs),
        q=describe_linear(qkv.q, level, attention.scale * q_signs, given_signs=qkv_signs),
        k=describe_linear(qkv.k, level, k_signs, given_signs=qkv_signs),
        v=describe_linear(qkv.v, level, v_signs, given_signs=qkv_signs),
        proj=describe_linear(attention.proj, level, given_signs=v_signs),
        fc1=describe_linear(block.mlp.fc1, level, given_signs=fc1_signs),
        fc2=describe_linear(block.mlp.fc2, level),
        attention=describe_attention(attention, WindowLanes(window, split, shifted), level),
    )


def _norm(norm: nn.LayerNorm, signs: np.ndarray | None = None) -> c.Norm:
    signs = np.ones(norm.normalized_shape) if signs is None else signs
    weight, bias = (floats(floats(value) * signs) for value in (norm.weight, norm.bias))
    return c.Norm(weight=weight, bias=bias, epsilon=norm.eps)


def _convs(module: nn.Module) -> list[c.Conv]:
    """Describe a convolution, or a sequence of them with leaky ReLUs between."""
    if not isinstance(module, nn.Sequential):
        return [_conv(module, 1.0)]
    convs: list[c.Conv] = []
    for part in module:
        if isinstance(part, nn.LeakyReLU):
            convs[-1].slope = part.negative_slope
        else:
            convs.append(_conv(part, 1.0))
    return convs


def _conv(conv: Any, slope: float) -> c.Conv:
    weight = conv_weight(conv).double().numpy()
    whole = np.zeros((*weight.shape[:2], 3, 3))
    if weight.shape[2:] == (1, 1):
        whole[:, :, 1:2, 1:2] = weight
    else:
        whole[:] = weight
    bias = None if conv.bias is None else floats(conv.bias)
    return c.Conv(inputs=weight.shape[1], outputs=weight.shape[0], slope=slope, weight=floats(whole), bias=bias)


def conv_weight(conv: Any) -> Tensor:
    """Return the weight (out, in, kh, kw) of a convolution, decoded if it is frozen."""
    with torch.no_grad():
        if isinstance(conv, QuantConv2d):
            columns = conv.weight_shape[1:].numel()
            matrix = conv.weight_quantizer.inverse(conv.quantized_matrix(), columns)
            return matrix.view(conv.weight_shape).cpu()
        return conv.weight.detach().cpu()
