"""The rest of a Swin block in one kernel, and the norms between blocks: tokens need nothing but themselves."""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false
# (Triton need not be there, and its functions return what its compiler says.)

import triton
import triton.language as tl

from compsrt_plugin.engine_gpu.kernels.arithmetic import (
    QUANTIZER,
    gelu,
    largest_magnitude,
    layer_norm,
    linear,
    load_matrix,
    operand_of,
    product,
    rounded_codes,
)


@triton.jit(do_not_specialize=["count"])
def tokens_kernel(
    x_ptr,
    out_ptr,
    attended_ptr,
    numbers_ptr,
    norm_ptr,
    proj_transform_ptr,
    proj_weight_ptr,
    proj_rows_ptr,
    fc1_transform_ptr,
    fc1_weight_ptr,
    fc1_rows_ptr,
    fc2_transform_ptr,
    fc2_weight_ptr,
    fc2_rows_ptr,
    count,
    TOKENS: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    ATTENDED: tl.constexpr,
    HIDDEN: tl.constexpr,
    PROJ_DOMAIN: tl.constexpr,
    FC1_DOMAIN: tl.constexpr,
    FC2_DOMAIN: tl.constexpr,
    IN_UNITS: tl.constexpr,
    BYTES: tl.constexpr,
):
    """Add attention's output, through proj, and then the MLP's to TOKENS tokens of x.

    Args:
        x_ptr: float32 (tokens, WIDTH), 0 from CHANNELS on.
        out_ptr: likewise; x itself, or another place.
        attended_ptr: float32 (tokens, ATTENDED), what `attention_kernel` wrote.
        numbers_ptr: the quantizers of the inputs of proj, fc1 and fc2.
        norm_ptr: see `layer_norm`.
        *_transform_ptr: halves, before a linear: (ATTENDED, WIDTH), (WIDTH, WIDTH), (HIDDEN, HIDDEN).
        *_weight_ptr, *_rows_ptr: see `linear`.
        count: of all tokens.
        *_DOMAIN: coefficients of a linear's input.
        IN_UNITS: bit i: quantizer i has units of tokens.
        BYTES: see `linear`.
    """
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    there = (token < count)[:, None]
    given = attended_ptr + token[:, None] * ATTENDED + tl.arange(0, ATTENDED)[None, :]
    attended = tl.load(given, mask=there, other=0.0)
    at = token[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    x = tl.load(x_ptr + at, mask=there, other=0.0)

    y = product(attended, load_matrix(proj_transform_ptr, ATTENDED, WIDTH))
    unit = largest_magnitude(y)
    y, sums = operand_of(rounded_codes(y, unit, numbers_ptr, IN_UNITS & 1, PROJ_DOMAIN, WIDTH), BYTES)
    x += linear(y, sums, unit, proj_weight_ptr, proj_rows_ptr, WIDTH, WIDTH, WIDTH, IN_UNITS & 1, BYTES)

    y = product(layer_norm(x, norm_ptr, CHANNELS, WIDTH), load_matrix(fc1_transform_ptr, WIDTH, WIDTH))
    unit = largest_magnitude(y)
    y, sums = operand_of(rounded_codes(y, unit, numbers_ptr + QUANTIZER, IN_UNITS & 2, FC1_DOMAIN, WIDTH), BYTES)
    y = linear(y, sums, unit, fc1_weight_ptr, fc1_rows_ptr, WIDTH, HIDDEN, HIDDEN, IN_UNITS & 2, BYTES)

    y = product(gelu(y), load_matrix(fc2_transform_ptr, HIDDEN, HIDDEN))
    unit = largest_magnitude(y)
    y, sums = operand_of(rounded_codes(y, unit, numbers_ptr + 2 * QUANTIZER, IN_UNITS & 4, FC2_DOMAIN, HIDDEN), BYTES)
    x += linear(y, sums, unit, fc2_weight_ptr, fc2_rows_ptr, HIDDEN, WIDTH, WIDTH, IN_UNITS & 4, BYTES)
    tl.store(out_ptr + at, x, mask=there)


@triton.jit
def norm_kernel(x_ptr, out_ptr, norm_ptr, TOKENS: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
    """Normalize TOKENS tokens of x, float32 (tokens, WIDTH), into out."""
    token = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    at = token[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    tl.store(out_ptr + at, layer_norm(tl.load(x_ptr + at), norm_ptr, CHANNELS, WIDTH))
