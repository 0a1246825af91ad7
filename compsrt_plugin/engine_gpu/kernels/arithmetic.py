"""What the kernels share: products near float32, norms, values → codes, integer linear layers.

Everything here works on tiles in registers: (rows, columns), both powers of two and at least 16.

    r' = clamp(round(x · factor + offset), 0, top) − centre

Codes are small integers. As bytes or as halves, the tensor cores multiply and sum them exactly: halves hold integers
up to 2048, and sums stay below 2²⁴. They come out of the rounding as the float ROUND + r', whose last byte is r'.
"""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false
# (Triton need not be there, and its functions return what its compiler says.)

import triton
import triton.language as tl

ROUND = tl.constexpr(12582912.0)  # 1.5 · 2²³: adding it rounds a float to a whole number, halves to even
SMALLEST = tl.constexpr(1e-8)  # the unit of a token of nothing but zeros
QUANTIZER = tl.constexpr(4)  # numbers of a quantizer: factor, offset, top, centre


@triton.jit
def product(x, matrix):
    """Return x @ matrix, x (m, k) in float32, matrix (k, n) in halves that are exact: as good as in float32.

    Two halves hold a float32 up to 2⁻²² of its size; float32 operands (tf32) would be slower and less precise.
    """
    high, low = two_halves(x)
    return tl.dot(low, matrix, tl.dot(high, matrix))


@triton.jit
def two_halves(x):
    """Return high and low, float16, whose sum is x, float32 of a size that float16 holds.

    The first is cut off by its bits: rounding takes a conversion and another one back.
    """
    high = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return high.to(tl.float16), (x - high).to(tl.float16)


@triton.jit
def gelu(x):
    """Return x Φ(x), with erf of Abramowitz and Stegun 7.1.26: 1.5e-7 off at most, without a branch."""
    root = tl.rsqrt(1.0 + 0.23164190 * tl.abs(x))
    t = root * root  # 1 / (1 + p |x| / √2); a division would take four instructions more
    series = ((((0.5307027145 * t - 0.7265760135) * t + 0.7107068705) * t - 0.142248368) * t + 0.127414796) * t
    tail = x * (series * tl.exp2(x * x * -0.72134752))  # x Φ(−|x|)
    return tl.where(x >= 0, x - tail, tail)


@triton.jit
def values_of(rounded):
    """Return the whole numbers r' in float32 of ROUND + r'."""
    return rounded - ROUND


@triton.jit
def operand_of(rounded, BYTES: tl.constexpr):
    """Return r' as what the tensor cores multiply, and its sum in each row, float32."""
    values = values_of(rounded)
    if BYTES:  # the instruction that converts floats would be slow
        return rounded.to(tl.int32, bitcast=True).to(tl.int8), tl.sum(values, 1)
    else:
        return values.to(tl.float16), tl.sum(values, 1)


@triton.jit
def load_matrix(matrix_ptr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return a matrix (ROWS, COLUMNS), rows one after the other."""
    return tl.load(matrix_ptr + tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])


@triton.jit
def layer_norm(x, norm_ptr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
    """Normalize the rows of x (m, WIDTH), of which CHANNELS count and the others are 0; they stay 0.

    Args:
        x: float32.
        norm_ptr: weight (WIDTH), bias (WIDTH), epsilon.
    """
    channel = tl.arange(0, WIDTH)
    centred = x - (tl.sum(x, 1) / CHANNELS)[:, None]
    if CHANNELS < WIDTH:
        centred = tl.where(channel[None, :] < CHANNELS, centred, 0.0)
    variance = tl.sum(centred * centred, 1) / CHANNELS
    scale = tl.rsqrt(variance + tl.load(norm_ptr + 2 * WIDTH))
    weight, bias = tl.load(norm_ptr + channel), tl.load(norm_ptr + WIDTH + channel)
    return centred * scale[:, None] * weight[None, :] + bias[None, :]


@triton.jit
def largest_magnitude(x):
    """Return the unit of each row of x (m, n): (m,)."""
    return tl.maximum(tl.max(tl.abs(x), 1), SMALLEST)


@triton.jit
def rounded_codes(x, unit, quantizer_ptr, IN_UNITS: tl.constexpr, DOMAIN: tl.constexpr, WIDTH: tl.constexpr):
    """Return ROUND + r' of x (m, WIDTH), float32, with the centred codes r'; those are 0 from column DOMAIN on.

    Args:
        x: in the quantizer's domain, without the transform's 1 / √m.
        unit: (m,) by which factors are divided if IN_UNITS.
        quantizer_ptr: factor, offset, top, centre.
    """
    factor = tl.load(quantizer_ptr)
    offset, top, centre = tl.load(quantizer_ptr + 1), tl.load(quantizer_ptr + 2), tl.load(quantizer_ptr + 3)
    scaled = x * (factor / unit)[:, None] + offset if IN_UNITS else x * factor + offset
    rounded = tl.minimum(tl.maximum(scaled, 0.0), top) + (ROUND - centre)
    if DOMAIN < WIDTH:
        rounded = tl.where(tl.arange(0, WIDTH)[None, :] < DOMAIN, rounded, ROUND)
    return rounded


@triton.jit
def codes_of(x, unit, quantizer_ptr, IN_UNITS: tl.constexpr, DOMAIN: tl.constexpr, WIDTH: tl.constexpr):
    """Return the codes r' themselves, whole numbers in float32; see `rounded_codes`."""
    return values_of(rounded_codes(x, unit, quantizer_ptr, IN_UNITS, DOMAIN, WIDTH))


@triton.jit
def linear(
    operand,
    sums,
    unit,
    weight_ptr,
    rows_ptr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    ALL_ROWS: tl.constexpr,
    IN_UNITS: tl.constexpr,
    BYTES: tl.constexpr,
):
    """Return y = unit (α Σ r'w' + β Σ r' + γ) + bias of codes (m, COLUMNS): (m, ROWS) in float32.

    Args:
        operand, sums: of the codes, see `operand_of`.
        unit: (m,), of the rows of codes; taken if IN_UNITS.
        weight_ptr: w', int8 (ROWS, COLUMNS).
        rows_ptr: α, β, γ, bias, each ALL_ROWS apart.
        BYTES: whether the tensor cores multiply bytes, else halves.
    """
    row, column = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    weight = tl.load(weight_ptr + row[None, :] * COLUMNS + column[:, None])
    alpha, beta = tl.load(rows_ptr + row), tl.load(rows_ptr + ALL_ROWS + row)
    gamma, bias = tl.load(rows_ptr + 2 * ALL_ROWS + row), tl.load(rows_ptr + 3 * ALL_ROWS + row)
    total = tl.dot(operand, weight).to(tl.float32) if BYTES else tl.dot(operand, weight.to(tl.float16))
    y = total * alpha[None, :] + (sums[:, None] * beta[None, :] + gamma[None, :])
    if IN_UNITS:
        y = y * unit[:, None]
    return y + bias[None, :]
