"""What the GPU engine cannot run, beyond what no engine can."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from compsrt_plugin.engine.describe import HINT, IN_ONE, blocks_of, check_network
from compsrt_plugin.engine.fold import Scale
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import Quantizer, QuantLinear

WINDOWS = (4, 8)  # 16 or 64 tokens, whose scores fit the registers of a program
WIDEST = 256  # of a token, likewise
SIGNED_BYTE = 127
EXACT_IN_HALVES = 2048  # the largest integer up to which all are exact in float16
LINEARS = ("attn.qkv.q", "attn.qkv.k", "attn.qkv.v", "attn.proj", "mlp.fc1", "mlp.fc2")


def check_limits(network: Any) -> None:
    """Refuse what the GPU engine cannot run.

    Raises:
        CompSRTError: what `check_network` refuses; another window, upsampler or width; an operand in full precision,
            in another domain than its partner, with a mask or with codes too large for bytes. Named.
    """
    check_network(network)
    if network.upsampler != IN_ONE:
        _refuse(f"upsampler: {network.upsampler!r}", IN_ONE)
    blocks = blocks_of(network)
    for number, block in enumerate(blocks):
        name, hidden = f"block {number}", block.mlp.fc1.out_features
        if block.window_size not in WINDOWS:
            _refuse(f"window_size: {block.window_size}", " and ".join(map(str, WINDOWS)))
        if max(network.embed_dim, hidden) > WIDEST:
            _refuse(f"{name}: {network.embed_dim} channels and {hidden} in the MLP", f"{WIDEST} at most")
        for linear in LINEARS:
            _check_linear(f"{name}: {linear}", block.get_submodule(linear))
        _check_attention(name, block.attn)
        if _form(block) != _form(blocks[0]):
            _refuse(f"{name} is made otherwise than block 0", "blocks of one size, with the same transforms and units")


def _refuse(found: str, allowed: str) -> NoReturn:
    raise CompSRTError(found, allowed=f"{allowed} in the GPU engine", hint=HINT)


def _check_linear(name: str, layer: Any) -> None:
    if not isinstance(layer, QuantLinear):
        _refuse(f"{name} is in full precision", "quantized linear layers")
    if layer.input_quantizer.spec.transform != layer.weight_quantizer.spec.transform:
        _refuse(f"{name}: input and weight have different transforms", "one for both")
    if layer.weight_mask is not None and not bool(layer.weight_mask.all()):
        _refuse(f"{name} is pruned", "networks without a mask")
    for part, quantizer in (("input", layer.input_quantizer), ("weight", layer.weight_quantizer)):
        _check_bytes(f"{name}.{part}", quantizer)


def _check_attention(name: str, attention: Any) -> None:
    q, k, v, map_ = (getattr(attention, f"{operand}_quantizer") for operand in ("q", "k", "v", "map"))
    for operand, quantizer in (("q", q), ("k", k), ("v", v), ("map", map_)):
        if quantizer is None:
            _refuse(f"{name}: {operand} is in full precision", "quantized operands of attention")
        _check_bytes(f"{name}: {operand}", quantizer)
        if quantizer.spec.transform == "hadamard_softmax" and operand != "map":
            _refuse(f"{name}: {operand} has transform: hadamard_softmax", "it for the map alone")
    if q.spec.transform != k.spec.transform:
        _refuse(f"{name}: q and k have different transforms", "one for both")
    if len({layer.input_quantizer.spec.transform for layer in attention.qkv.children()}) > 1:
        _refuse(f"{name}: the inputs of q, k and v have different transforms", "one for the three")
    tokens = attention.relative_position_index.shape[0]
    summed = Scale(v).largest * (1 if map_.spec.transform == "none" else tokens)
    if summed > EXACT_IN_HALVES or v.per_token:
        _refuse(f"{name}: v has {v.spec.bits} bits, {v.spec.granularity}", "sums over tokens up to 2048, per_tensor")


def _check_bytes(name: str, quantizer: Quantizer) -> None:
    with torch.no_grad():
        largest = Scale(quantizer).largest
    if largest > SIGNED_BYTE:
        _refuse(f"{name} has codes of {quantizer.spec.bits} bits", f"codes up to ±{SIGNED_BYTE} around their centre")


def _form(block: Any) -> list[Any]:
    """What all blocks must share, since one compiled kernel runs them all."""
    attention = block.attn
    quantizers = [getattr(attention, f"{operand}_quantizer") for operand in ("q", "k", "v", "map")]
    quantizers += [block.get_submodule(linear).input_quantizer for linear in LINEARS]
    sizes = [attention.num_heads, block.mlp.fc1.out_features, block.window_size]
    return sizes + [(quantizer.spec.transform, quantizer.per_token) for quantizer in quantizers]
