"""A Swin block's attention in one kernel: norm, q, k and v, scores, softmax, map · v, for some heads of a window.

What comes out is map · v where v is quantized; the block's second kernel (`tokens.py`) takes it back from there,
together with the transform of the next linear layer.

    scores  unit_q unit_k (α Σ q'k' + β_k Σ k' + β_q Σ q' + γ) + bias + mask, times log₂ e
    output  unit (a₁ Σ r'V + a₂ Σ V + a₃ Σ r'1 + a₄) + b₁ Σ v' + b₂,  V = H v', 1 = H times ones

r' are the map's codes in its domain, H its transform along tokens, v' those of v. With `hadamard_softmax` the first
coefficient has no code: V[0] is 0 in the sums, and b₁, b₂ are what it adds; else those are 0.
"""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false
# (Triton need not be there, and its functions return what its compiler says.)

import triton
import triton.language as tl

from compsrt_plugin.engine_gpu.kernels.arithmetic import (
    QUANTIZER,
    codes_of,
    largest_magnitude,
    layer_norm,
    linear,
    load_matrix,
    operand_of,
    product,
    rounded_codes,
)

NO_TRANSFORM = tl.constexpr(0)  # of the map
KNOWN_FIRST = tl.constexpr(2)  # hadamard_softmax: its first coefficient has no code
MASKED = tl.constexpr(-100 * 1.4426950408889634)  # what SwinIR adds to the scores of other regions, times log₂ e
SCORES = tl.constexpr(28)  # behind seven quantizers: α, β_k, β_q, γ
OUTPUT = tl.constexpr(32)  # a₁, a₂, a₃, a₄, b₁, b₂


@triton.jit
def window_tokens(window, height, width, shift, WINDOW: tl.constexpr):
    """Return where a window's tokens lie among all of the batch, in which region of the mask each is, (tokens,), and
    whether there is more than one.

    Shifted windows at the lower and right edges hold pixels of both ends of the picture, which do not see each other.
    """
    across, down = width // WINDOW, height // WINDOW
    picture, row, column = window // (across * down), window // across % down, window % across
    token = tl.arange(0, WINDOW * WINDOW)
    y, x = token // WINDOW, token % WINDOW
    below = (row == down - 1) & (y >= WINDOW - shift)
    beside = (column == across - 1) & (x >= WINDOW - shift)
    region = below.to(tl.int32) * 2 + beside.to(tl.int32)
    y, x = (row * WINDOW + y + shift) % height, (column * WINDOW + x + shift) % width
    at_edge = (shift > 0) & ((row == down - 1) | (column == across - 1))
    return (picture * height + y) * width + x, region, at_edge


@triton.jit(do_not_specialize=["height", "width", "shift"])
def attention_kernel(
    x_ptr,
    out_ptr,
    norm_ptr,
    transform_ptr,
    numbers_ptr,
    weight_ptr,
    rows_ptr,
    head_transform_ptr,
    bias_ptr,
    map_transform_ptr,
    height,
    width,
    shift,
    WINDOW: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    DOMAIN: tl.constexpr,
    ALL_HEADS: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    HEAD_DOMAIN: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    MAP: tl.constexpr,
    IN_UNITS: tl.constexpr,
    BYTES: tl.constexpr,
):
    """Attend with HEADS heads of one window: program (window, group of heads).

    Args:
        x_ptr: float32 (tokens of the batch, WIDTH), 0 from CHANNELS on.
        out_ptr: float32 (tokens, OUT_WIDTH), HEAD columns a head.
        norm_ptr: see `layer_norm`.
        transform_ptr: halves (WIDTH, WIDTH), before q, k and v.
        numbers_ptr: the quantizers of the inputs of q, k, v, then q, k, v, map; scores; output.
        weight_ptr: int8 (3, ALL_HEADS, HEAD, WIDTH).
        rows_ptr: float32 (4, 3, ALL_HEADS, HEAD), see `linear`.
        head_transform_ptr: halves (3, HEAD, HEAD), of q, k and v.
        bias_ptr: float32 (ALL_HEADS, tokens, tokens), times log₂ e.
        map_transform_ptr: halves (tokens, tokens), column 0 all 0 if the first coefficient is known.
        height, width, shift: of the pictures, and of the windows.
        DOMAIN: of the linears' inputs; HEAD_DOMAIN: of q and k.
        MAP: the map's transform. IN_UNITS: bit i: quantizer i has units of tokens.
        BYTES: see `linear`.
    """
    TOKENS: tl.constexpr = WINDOW * WINDOW
    ROWS: tl.constexpr = 3 * ALL_HEADS * HEAD
    PART: tl.constexpr = ALL_HEADS * HEAD
    place, region, at_edge = window_tokens(tl.program_id(0), height, width, shift, WINDOW)
    channel, column, key = tl.arange(0, WIDTH), tl.arange(0, HEAD), tl.arange(0, TOKENS)
    x = tl.load(x_ptr + place[:, None] * WIDTH + channel[None, :])
    transform = load_matrix(transform_ptr, WIDTH, WIDTH)
    map_transform = load_matrix(map_transform_ptr, TOKENS, TOKENS)
    domain = product(layer_norm(x, norm_ptr, CHANNELS, WIDTH), transform)
    unit = largest_magnitude(domain)
    rounded = rounded_codes(domain, unit, numbers_ptr, IN_UNITS & 1, DOMAIN, WIDTH)
    of_q, sums_q = operand_of(rounded, BYTES)
    rounded = rounded_codes(domain, unit, numbers_ptr + QUANTIZER, IN_UNITS & 2, DOMAIN, WIDTH)
    of_k, sums_k = operand_of(rounded, BYTES)
    rounded = rounded_codes(domain, unit, numbers_ptr + 2 * QUANTIZER, IN_UNITS & 4, DOMAIN, WIDTH)
    of_v, sums_v = operand_of(rounded, BYTES)
    q_transform = load_matrix(head_transform_ptr, HEAD, HEAD)
    k_transform = load_matrix(head_transform_ptr + HEAD * HEAD, HEAD, HEAD)
    v_transform = load_matrix(head_transform_ptr + 2 * HEAD * HEAD, HEAD, HEAD)
    for step in range(HEADS):
        head = tl.program_id(1) * HEADS + step
        w_ptr, r_ptr = weight_ptr + head * (HEAD * WIDTH), rows_ptr + head * HEAD
        q = linear(of_q, sums_q, unit, w_ptr, r_ptr, WIDTH, HEAD, ROWS, IN_UNITS & 1, BYTES)
        k = linear(of_k, sums_k, unit, w_ptr + PART * WIDTH, r_ptr + PART, WIDTH, HEAD, ROWS, IN_UNITS & 2, BYTES)
        v = linear(
            of_v, sums_v, unit, w_ptr + 2 * PART * WIDTH, r_ptr + 2 * PART, WIDTH, HEAD, ROWS, IN_UNITS & 4, BYTES
        )
        q, k, v = product(q, q_transform), product(k, k_transform), product(v, v_transform)

        q_unit, k_unit = largest_magnitude(q), largest_magnitude(k)
        q = codes_of(q, q_unit, numbers_ptr + 3 * QUANTIZER, IN_UNITS & 8, HEAD_DOMAIN, HEAD)
        k = codes_of(k, k_unit, numbers_ptr + 4 * QUANTIZER, IN_UNITS & 16, HEAD_DOMAIN, HEAD)
        # unit_q unit_k (α Σ q'k' + of_key + of_query) + bias: of_query drops out of the softmax if keys have no unit.
        scores = tl.dot(q.to(tl.float16), tl.trans(k.to(tl.float16)))
        alpha, of_key = tl.load(numbers_ptr + SCORES), tl.sum(k, 1) * tl.load(numbers_ptr + SCORES + 1)
        if IN_UNITS & 16:
            of_query = tl.sum(q, 1) * tl.load(numbers_ptr + SCORES + 2) + tl.load(numbers_ptr + SCORES + 3)
            scores = scores * (alpha * k_unit)[None, :] + (of_key * k_unit)[None, :]
            scores = of_query[:, None] * k_unit[None, :] + scores
        else:
            scores = scores * alpha + of_key[None, :]
        bias = tl.load(bias_ptr + head * (TOKENS * TOKENS) + key[:, None] * TOKENS + key[None, :])
        scores = scores * q_unit[:, None] + bias if IN_UNITS & 8 else scores + bias
        if at_edge:
            scores += tl.where(region[:, None] != region[None, :], MASKED, 0.0)

        # The map's codes do not depend on 1 / Σ exp if they have units; else it is part of the factor.
        weights = tl.exp2(scores - tl.max(scores, 1)[:, None])
        total = tl.sum(weights, 1)
        if MAP != NO_TRANSFORM:
            weights = product(weights, map_transform)
        map_unit = total
        if IN_UNITS & 64:
            map_unit = largest_magnitude(weights)
        codes = codes_of(weights, map_unit, numbers_ptr + 6 * QUANTIZER, True, TOKENS, TOKENS)

        v = codes_of(v, total, numbers_ptr + 5 * QUANTIZER, False, HEAD, HEAD)
        first = tl.sum(v, 0)
        if MAP != NO_TRANSFORM:
            v = tl.dot(tl.trans(map_transform), v.to(tl.float16))
        out = tl.dot(codes.to(tl.float16), v.to(tl.float16)) * tl.load(numbers_ptr + OUTPUT)
        out += (tl.sum(v, 0) * tl.load(numbers_ptr + OUTPUT + 1) + tl.load(numbers_ptr + OUTPUT + 3))[None, :]
        if MAP == NO_TRANSFORM:
            out += (tl.sum(codes, 1) * tl.load(numbers_ptr + OUTPUT + 2))[:, None]
        elif MAP != KNOWN_FIRST:
            of_map = tl.sum(tl.where(key[None, :] == 0, codes, 0.0), 1)
            out += (of_map * tl.load(numbers_ptr + OUTPUT + 2))[:, None]
        if IN_UNITS & 64:
            out *= (map_unit / total)[:, None]
        out += (first * tl.load(numbers_ptr + OUTPUT + 4) + tl.load(numbers_ptr + OUTPUT + 5))[None, :]
        tl.store(out_ptr + place[:, None] * OUT_WIDTH + head * HEAD + column[None, :], out)
