"""A Swin block as tensors: what its two kernels read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compsrt_plugin.engine.attention import LOG2E
from compsrt_plugin.engine.fold import TRANSFORMS, Scale, unit_norm
from compsrt_plugin.engine_gpu.fold import (
    domain_width,
    floats,
    halves,
    integer_linear,
    padded,
    quantizer_numbers,
    tile,
    transform_matrix,
)
from compsrt_plugin.quant import Quantizer, padded_width


@dataclass(frozen=True)
class Form:
    """What all blocks of a network share: the constants that the kernels are compiled for.

    Attributes:
        window, channels, heads: of the network.
        width, head, attended, hidden: columns of tiles: a token, q, k and v of one head, attention's output, the MLP.
        qkv_domain, head_domain, proj_domain, fc1_domain, fc2_domain: coefficients of a linear's input, and of q and k.
        map: number of the map's transform.
        attention_units, tokens_units: bit i: the i-th quantizer of that kernel has units of tokens.
    """

    window: int
    channels: int
    heads: int
    width: int
    head: int
    attended: int
    hidden: int
    qkv_domain: int
    head_domain: int
    proj_domain: int
    fc1_domain: int
    fc2_domain: int
    map: int
    attention_units: int
    tokens_units: int


def form_of(block: Any) -> Form:
    """Return the form of a block that `check_limits` passed."""
    attention, mlp = block.attn, block.mlp
    head_dim = block.dim // attention.num_heads
    qkv = [attention.qkv.q, attention.qkv.k, attention.qkv.v]
    operands = [attention.q_quantizer, attention.k_quantizer, attention.v_quantizer, attention.map_quantizer]
    return Form(
        window=block.window_size,
        channels=block.dim,
        heads=attention.num_heads,
        width=tile(block.dim),
        head=tile(head_dim),
        attended=tile(attention.num_heads * tile(head_dim)),
        hidden=tile(mlp.fc1.out_features),
        qkv_domain=domain_width(attention.qkv.q.input_quantizer, block.dim),
        head_domain=domain_width(attention.q_quantizer, head_dim),
        proj_domain=domain_width(attention.proj.input_quantizer, block.dim),
        fc1_domain=domain_width(mlp.fc1.input_quantizer, block.dim),
        fc2_domain=domain_width(mlp.fc2.input_quantizer, mlp.fc1.out_features),
        map=TRANSFORMS[attention.map_quantizer.spec.transform],
        attention_units=_bits([*(layer.input_quantizer for layer in qkv), *operands]),
        tokens_units=_bits([layer.input_quantizer for layer in (attention.proj, mlp.fc1, mlp.fc2)]),
    )


def _bits(quantizers: list[Quantizer]) -> int:
    return sum(quantizer.per_token << place for place, quantizer in enumerate(quantizers))


@dataclass(frozen=True)
class Block:
    """Tensors of a block, in the order of the kernels' arguments; `shift` is that of its windows."""

    norm1: Tensor
    qkv_transform: Tensor
    attention_numbers: Tensor
    qkv_weight: Tensor
    qkv_rows: Tensor
    head_transforms: Tensor
    bias: Tensor
    map_transform: Tensor

    tokens_numbers: Tensor
    norm2: Tensor
    proj_transform: Tensor
    proj_weight: Tensor
    proj_rows: Tensor
    fc1_transform: Tensor
    fc1_weight: Tensor
    fc1_rows: Tensor
    fc2_transform: Tensor
    fc2_weight: Tensor
    fc2_rows: Tensor

    shift: int

    def to(self, device: torch.device) -> Block:
        """Return the block with its tensors on a device."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Block(**{name: value if name == "shift" else value.to(device) for name, value in given.items()})

    @property
    def of_attention(self) -> list[Tensor]:
        """The tensors that `attention_kernel` takes."""
        return [getattr(self, field.name) for field in fields(self)[:8]]

    @property
    def of_tokens(self) -> list[Tensor]:
        """The tensors that `tokens_kernel` takes."""
        return [getattr(self, field.name) for field in fields(self)[8:-1]]


def block_tensors(block: Any, form: Form) -> Block:
    """Return a block's tensors, on the CPU."""
    attention, mlp, width, hidden = block.attn, block.mlp, form.width, form.hidden
    proj_weight, proj_rows = integer_linear(attention.proj).tensors(width, width)
    fc1_weight, fc1_rows = integer_linear(mlp.fc1).tensors(hidden, width)
    fc2_weight, fc2_rows = integer_linear(mlp.fc2).tensors(width, hidden)
    qkv_weight, qkv_rows = _qkv(attention, form)
    with torch.no_grad():
        bias = attention.relative_position_bias().cpu().double().numpy() * LOG2E
    return Block(
        norm1=norm_numbers(block.norm1, width),
        qkv_transform=_before(attention.qkv.q, width),
        attention_numbers=_attention_numbers(attention, form),
        qkv_weight=qkv_weight,
        qkv_rows=qkv_rows,
        head_transforms=_head_transforms(attention, form),
        bias=floats(bias),
        map_transform=_map_transform(attention.map_quantizer, form.window**2),
        tokens_numbers=_tokens_numbers(block, form),
        norm2=norm_numbers(block.norm2, width),
        proj_transform=_proj_transform(attention, form),
        proj_weight=proj_weight,
        proj_rows=proj_rows,
        fc1_transform=_before(mlp.fc1, width),
        fc1_weight=fc1_weight,
        fc1_rows=fc1_rows,
        fc2_transform=_before(mlp.fc2, hidden),
        fc2_weight=fc2_weight,
        fc2_rows=fc2_rows,
        shift=block.shift_size,
    )


def norm_numbers(norm: nn.LayerNorm, width: int) -> Tensor:
    """Return weight and bias of a norm, zeros behind each up to `width`, and epsilon: float32 (2 width + 1,)."""
    both = np.stack([norm.weight.detach().cpu().double().numpy(), norm.bias.detach().cpu().double().numpy()])
    return floats(np.append(padded(both, 2, width).reshape(-1), norm.eps))


def _before(layer: Any, width: int) -> Tensor:
    """The transform of a layer's input: halves (width, width)."""
    return halves(padded(transform_matrix(layer.input_quantizer, layer.in_features), width, width))


def _qkv(attention: Any, form: Form) -> tuple[Tensor, Tensor]:
    """Codes, int8 (3, heads, head, width), and α, β, γ, bias, float32 (4, 3, heads, head); q's with its scale."""
    heads, head_dim = form.heads, form.channels // form.heads
    codes, rows = [], []
    for layer, factor in ((attention.qkv.q, attention.scale), (attention.qkv.k, 1.0), (attention.qkv.v, 1.0)):
        found = integer_linear(layer, factor)
        codes.append(padded(found.codes.reshape(heads, head_dim, -1), heads, form.head, form.width))
        rows.append(padded(found.rows.reshape(4, heads, head_dim), 4, heads, form.head))
    return torch.from_numpy(np.stack(codes)).to(torch.int8), floats(np.stack(rows, 1))


def _head_transforms(attention: Any, form: Form) -> Tensor:
    """The transforms of q, k and v: halves (3, head, head)."""
    quantizers = (attention.q_quantizer, attention.k_quantizer, attention.v_quantizer)
    matrices = [transform_matrix(quantizer, form.channels // form.heads) for quantizer in quantizers]
    return halves(np.stack([padded(matrix, form.head, form.head) for matrix in matrices]))


def _map_transform(quantizer: Quantizer, tokens: int) -> Tensor:
    """The transform of a row of the map: halves (tokens, tokens), without the coefficient that is known."""
    matrix = transform_matrix(quantizer, tokens)
    if quantizer.spec.transform == "hadamard_softmax":
        matrix[:, 0] = 0
    return halves(matrix)


def _proj_transform(attention: Any, form: Form) -> Tensor:
    """From v's domain, head by head, to that of proj's input, without any 1 / √m: halves (attended, width)."""
    head_dim = form.channels // form.heads
    back = transform_matrix(attention.v_quantizer, head_dim).T  # (domain, head_dim)
    forth = transform_matrix(attention.proj.input_quantizer, form.channels).reshape(form.heads, head_dim, -1)
    both = padded(back @ forth, form.heads, form.head, form.width)
    return halves(padded(both.reshape(-1, form.width), form.attended, form.width))


def _tokens_numbers(block: Any, form: Form) -> Tensor:
    layers = (block.attn.proj, block.mlp.fc1, block.mlp.fc2)
    return floats(np.concatenate([quantizer_numbers(layer.input_quantizer, layer.in_features) for layer in layers]))


def _attention_numbers(attention: Any, form: Form) -> Tensor:
    """Seven quantizers, the scores' constants and the output's, as `attention_kernel` reads them."""
    head_dim, tokens = form.channels // form.heads, form.window**2
    q, k, v, map_ = (getattr(attention, f"{operand}_quantizer") for operand in ("q", "k", "v", "map"))
    numbers = []
    for layer in (attention.qkv.q, attention.qkv.k, attention.qkv.v):
        numbers += quantizer_numbers(layer.input_quantizer, layer.in_features)
    for quantizer, width in ((q, head_dim), (k, head_dim), (v, head_dim), (map_, tokens)):
        numbers += quantizer_numbers(quantizer, width)
    return floats(numbers + _score_numbers(q, k, head_dim) + _output_numbers(v, map_, head_dim, tokens))


def _score_numbers(of_q: Quantizer, of_k: Quantizer, head_dim: int) -> list[float]:
    q, k = Scale(of_q), Scale(of_k)
    norm = LOG2E * unit_norm(of_q, head_dim) * unit_norm(of_k, head_dim)
    terms = (q.s * k.s, q.z_centred * k.s, q.s * k.z_centred, q.z_centred * k.z_centred * domain_width(of_q, head_dim))
    return [norm * float(term) for term in terms]


def _output_numbers(of_v: Quantizer, of_map: Quantizer, head_dim: int, tokens: int) -> list[float]:
    """a₁ to a₄, b₁, b₂; v's 1 / √m of the way back, which `_proj_transform` lacks, is in them."""
    v, map_, softmax = Scale(of_v), Scale(of_map), of_map.spec.transform == "hadamard_softmax"
    order = 1 if of_v.spec.transform == "none" else padded_width(head_dim)
    a, b = float(v.s) / order**0.5, float(v.z_centred) / order**0.5
    s, z = (float(value) * unit_norm(of_map, tokens) for value in (map_.s, map_.z_centred))
    if of_map.spec.transform == "none":
        return [s * a, z * a, s * b, z * b * tokens, 0.0, 0.0]
    s, z = s / tokens**0.5, z / tokens**0.5
    if softmax:
        return [s * a, z * a, 0.0, 0.0, a / tokens, b]
    return [s * a, z * a, s * b * tokens, z * b * tokens, 0.0, 0.0]
