"""Describe window attention for the engine: constants of the two integer products, bias in the order of lanes.

The second product, with N = 1/√tokens under a transform along tokens and 1 without, and v̂ = a w + b, w the integers
that `attention_codes-inl.h` makes of v's codes (b is in every channel, or under v's transform in the first alone):

    out = N Σ_h (s_m r'[h] + Z_m') (a V[h] + b 1[h]) = N s_m a Σ r'V + N s_m b Σ r'1 + N Z_m' (a Σ V + b Σ 1)

where V = H w and 1[h] are the transforms of w and of a constant 1: (tokens, 0, 0, …), or ones without a transform.
Under `hadamard_softmax` h = 0 is left out of the sums and adds (a V[0] + b · tokens) / tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from compsrt_plugin.engine.fold import describe_quantizer, floats, integers, unit_norm
from compsrt_plugin.engine.scale import Scale
from compsrt_plugin.engine.sums import dots_fit, map_parts
from compsrt_plugin.engine.windows import WindowLanes
from compsrt_plugin.native import Level
from compsrt_plugin.native import structures as c
from compsrt_plugin.quant import Quantizer, padded_width
from compsrt_plugin.quant.matmul import share_domain

LOG2E = float(np.log2(np.e))
KEYS_AT_ONCE = 4
"""Keys whose scores are computed at once: `kKeys` in `csrc/kernels/attention_codes-inl.h`."""
SMALLEST_MAP = 16
"""Keys of the smallest transform in integers along the keys; others are powers of two."""


def describe_attention(attention: Any, lanes: WindowLanes, level: Level) -> c.Attention:
    """Describe a `QuantWindowAttention` whose windows have these lanes."""
    heads = attention.num_heads
    head_dim = attention.qkv.q.out_features // heads
    q, k, v, map_ = (getattr(attention, f"{name}_quantizer") for name in ("q", "k", "v", "map"))
    tokens = len(lanes.lane_of_token)
    sizes = AttentionSizes(head_dim, tokens, tokens, lanes.count)
    fields = describe_operands((q, k, v, map_), sizes, level, lanes.regular)
    scores = bool(fields["integer_scores"])
    row_tokens = lanes.token_of_lane if scores else np.arange(tokens)
    with torch.no_grad():
        bias = attention.relative_position_bias().cpu().double().numpy() * LOG2E  # (heads, query, key)
    by_lane = np.zeros((heads, tokens, lanes.count))
    filled = lanes.token_of_lane >= 0
    by_lane[:, :, filled] = bias.transpose(0, 2, 1)[:, row_tokens][:, :, lanes.token_of_lane[filled]]
    return c.Attention(
        heads=heads, lane_of_row=integers(lanes.lane_of_token[row_tokens]), bias=floats(by_lane), **fields
    )


@dataclass(frozen=True)
class AttentionSizes:
    """Sizes of attention in one head of one window.

    Attributes:
        head_dim: channels of the head.
        queries, keys: numbers of query and key tokens.
        key_lanes: number of lanes that hold the keys.
    """

    head_dim: int
    queries: int
    keys: int
    key_lanes: int


def describe_operands(
    quantizers: tuple[Quantizer | None, ...],
    sizes: AttentionSizes,
    level: Level,
    regular: bool = True,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Return the fields of `Attention` that describe its operands and constants.

    Args:
        quantizers: of q, k, v and the map.
        sizes: of a window.
        level: of instructions.
        regular: whether lanes can stand for tokens under a transform along tokens, see `WindowLanes`.
        scale: of q kᵀ.
    """
    q, k, v, map_ = quantizers
    head_dim, keys = sizes.head_dim, sizes.keys
    scores = regular and keys % KEYS_AT_ONCE == 0 and _scores_fit(q, k, head_dim, level)
    product = _product_parts(v, map_, head_dim, keys, level) if scores else 0
    constants: dict[str, float] = {}
    if scores:
        assert q is not None and k is not None
        constants.update(_score_constants(q, k, head_dim, scale))
    if product:
        assert v is not None and map_ is not None
        constants.update(_product_constants(v, map_, head_dim, keys))
    return {
        "head_dim": head_dim,
        "tokens": sizes.queries,
        "keys": keys,
        "key_lanes": sizes.key_lanes,
        "q": describe_quantizer(q, head_dim),
        "k": describe_quantizer(k, head_dim),
        "v": describe_quantizer(v, head_dim),
        "map": describe_quantizer(map_, keys),
        "integer_scores": int(scores),
        "integer_map": product,
        "score_scale": scale,
        **constants,
    }


def _scores_fit(q: Quantizer | None, k: Quantizer | None, head_dim: int, level: Level) -> bool:
    if q is None or k is None or not share_domain(q, k) or q.spec.transform == "hadamard_softmax":
        return False
    columns = head_dim if q.spec.transform == "none" else padded_width(head_dim)
    return dots_fit(level, Scale(q), Scale(k), columns)


def _product_parts(v: Quantizer | None, map_: Quantizer | None, head_dim: int, tokens: int, level: Level) -> int:
    if v is None or map_ is None or v.spec.transform == "hadamard_softmax":
        return 0
    if map_.spec.transform != "none" and (tokens < SMALLEST_MAP or tokens & (tokens - 1)):
        return 0
    channels = padded_width(head_dim) if v.spec.transform != "none" else 1
    return map_parts(level, Scale(v), Scale(map_), channels, tokens, map_.spec.transform)


def _score_constants(of_q: Quantizer, of_k: Quantizer, head_dim: int, scale: float) -> dict[str, float]:
    # s_q s_k Σ q'k' + Z_q' s_k Σ k' + s_q Z_k' Σ q' + Z_q' Z_k' columns; the last two differ by the key's unit alone
    q, k = Scale(of_q), Scale(of_k)
    norm = LOG2E * scale * unit_norm(of_q, head_dim) * unit_norm(of_k, head_dim)
    found = {"alpha": norm * float(q.s * k.s), "key_beta": norm * float(q.z_centred * k.s)}
    if of_k.per_token:
        columns = head_dim if of_q.spec.transform == "none" else padded_width(head_dim)
        found["query_beta"] = norm * float(q.s * k.z_centred)
        found["gamma"] = norm * float(q.z_centred * k.z_centred) * columns
    return found


def _product_constants(v: Quantizer, map_: Quantizer, head_dim: int, tokens: int) -> dict[str, float]:
    found_v, found_map = Scale(v), Scale(map_)
    order = padded_width(head_dim) if v.spec.transform != "none" else 1
    a, b = float(found_v.s) / np.sqrt(order), float(found_v.z_centred) * np.sqrt(order)
    s, z = float(found_map.s), float(found_map.z_centred)
    softmax, transformed = map_.spec.transform == "hadamard_softmax", map_.spec.transform != "none"
    norm = (1 / np.sqrt(tokens) if transformed else 1.0) * unit_norm(map_, tokens)
    return {
        "out_alpha": norm * s * a,
        "out_beta": 0.0 if softmax else norm * s * b,
        "sum_alpha": norm * z * a,
        "sum_beta": 0.0 if softmax else norm * z * b * tokens,
        "first_alpha": a / tokens if softmax else 0.0,
        "first_beta": b if softmax else 0.0,
    }
