"""A 3×3 convolution with what follows it: bias, leaky ReLU and the residual connection, in one kernel."""

# pyright: reportMissingImports=false, reportGeneralTypeIssues=false
# (Triton need not be there, and its functions return what its compiler says.)

import triton
import triton.language as tl

from compsrt_plugin.engine_gpu.kernels.arithmetic import two_halves


@triton.jit(do_not_specialize=["count", "height", "width"])
def convolution_kernel(
    x_ptr,
    residual_ptr,
    out_ptr,
    weight_ptr,
    rows_ptr,
    count,
    height,
    width,
    slope,
    PIXELS: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    RESIDUAL: tl.constexpr,
):
    """Convolve PIXELS pixels of a batch: out = leaky(α Σ x w + bias) (+ residual).

    Args:
        x_ptr: float32 (b, height, width, INPUTS).
        residual_ptr: float32, of out's shape; read if RESIDUAL.
        out_ptr: float32 (b, height, width, OUTPUTS), another place than x.
        weight_ptr: halves (2, 9, OUTPUTS, INPUTS), whose sum is the weight in units of α.
        rows_ptr: α, bias, each (OUTPUTS,).
        count: of all pixels; height, width: of a picture.
        slope: of the leaky ReLU; 1 for none.
    """
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    there = pixel < count
    y, x = pixel // width % height, pixel % width
    channel, row = tl.arange(0, INPUTS), tl.arange(0, OUTPUTS)
    w_ptr = weight_ptr + row[None, :] * INPUTS + channel[:, None]
    total = tl.zeros((PIXELS, OUTPUTS), tl.float32)
    for tap in range(9):
        down, right = tap // 3 - 1, tap % 3 - 1
        inside = there & (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        source = (pixel + down * width + right)[:, None] * INPUTS + channel[None, :]
        values = tl.load(x_ptr + source, mask=inside[:, None], other=0.0)
        high, low = two_halves(values)
        weight = tl.load(w_ptr + tap * (OUTPUTS * INPUTS))
        rest = tl.load(w_ptr + (9 + tap) * (OUTPUTS * INPUTS))
        total = tl.dot(high, weight, tl.dot(low, weight, tl.dot(high, rest, total)))
    total = total * tl.load(rows_ptr + row)[None, :] + tl.load(rows_ptr + OUTPUTS + row)[None, :]
    total = tl.where(total >= 0, total, total * slope)
    at = pixel[:, None] * OUTPUTS + row[None, :]
    if RESIDUAL:
        total += tl.load(residual_ptr + at, mask=there[:, None], other=0.0)
    tl.store(out_ptr + at, total, mask=there[:, None])
