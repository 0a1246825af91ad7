"""Compiled kernels of the simulated quantizer: one pass over memory instead of some twenty.

The library is built by setup.py where there is a compiler; without it everything runs in torch, with the same results
to rounding. It does not use torch's ABI: pointers go through ctypes. Its threads are those of the OpenMP that torch has
loaded already.
"""

from __future__ import annotations

import ctypes
import logging
from functools import lru_cache

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.source_folder import compiled, how_to_build

LANES = 16  # floats in a vector of the kernels
VECTORS = (1, 2, 4, 8, 16)  # how many of them a row may have
LEVELS = {"plain": 0, "avx2": 1, "avx512": 2}  # instruction sets
COST = "calibration takes 1.6 times as long"
_TRANSFORMS = {"none": 0, "hadamard": 1, "hadamard_softmax": 2, "hadamard_signed": 3}
PARALLEL_FROM = 1 << 15  # elements from which a second thread pays

_P, _I = ctypes.c_void_p, ctypes.c_int


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the compiled library, or None, with a warning, where it was not built or does not load."""
    path = compiled("native", "_kernels")
    try:
        if path is None:
            raise OSError("they were not built")
        found = ctypes.CDLL(str(path))
    except OSError as error:  # built for another machine, perhaps
        logging.getLogger(__name__).warning("no compiled kernels (%s): %s; %s", error, COST, how_to_build())
        return None
    shape = [ctypes.c_int64, _I, _I, _I, _I, _P, _P, _I, _I, ctypes.c_float, _I]
    found.compsrt_fake_quantize.argtypes = [_P, _P, *shape]
    found.compsrt_fake_quantize_backward.argtypes = [_P, _P, _P, _P, _P, _P, *shape]
    return found


def level() -> str | None:
    """Return the instructions that the kernels use, a key of `LEVELS`; None without a library."""
    found = library()
    if found is None:
        return None
    in_use = found.compsrt_level(max(LEVELS.values()))
    return next(name for name, number in LEVELS.items() if number == in_use)


@torch.compiler.assume_constant_result
def _is_built() -> bool:
    return library() is not None


def vectors_of(width: int, transform: str) -> int | None:
    """Return how many vectors hold a row, or None where the kernels have no code for it."""
    if transform not in _TRANSFORMS:
        return None
    needed = max(-(-width // LANES), 1)
    if transform != "none" and width <= LANES // 2:
        return None  # its Hadamard matrix is smaller than a vector
    return next((vectors for vectors in VECTORS if vectors >= needed), None)


def usable(x: Tensor, transform: str, *others: Tensor) -> bool:
    """Tell whether the kernels can quantize rows of x (its last axis) with `others` for scale and zero point."""
    return (
        all(_is_readable(tensor) for tensor in (x, *others))
        and x.numel() > 0
        and x.ndim > 0
        and vectors_of(x.shape[-1], transform) is not None
        and _is_built()
    )


def _is_readable(tensor: Tensor) -> bool:
    """Whether a dense tensor is of the kind that the kernels read and write, once it is contiguous."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


def fake_quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, top: int, transform: str, invert: bool, per_token: bool = False
) -> Tensor:
    """Return s r + Z of x, taken to the domain of `transform` before and, if `invert`, back after.

    Args:
        x: (..., d), contiguous or not, `usable`.
        scale, zero_point: (), or (rows, 1) for x (rows, d).
        top: the largest code.
        transform: `none`, `hadamard`, `hadamard_signed` or `hadamard_softmax`; the last only with `invert`.
        invert: whether the output is taken back.
        per_token: whether scale and zero point are in units of each row's largest magnitude in the domain.

    Returns:
        (..., m), or (..., d) if nothing is transformed or `invert`.
    """
    width = x.shape[-1]
    width_out = width if invert or transform == "none" else _vectors(width, transform) * LANES
    y = x.new_empty(*x.shape[:-1], width_out)
    _call("compsrt_fake_quantize", [x.contiguous(), y], width, scale, zero_point, top, transform, invert, per_token)
    return y


def fake_quantize_backward(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    top: int,
    transform: str,
    invert: bool,
    per_token: bool = False,
    again: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `fake_quantize` by x, scale and zero point (`quant.fake.StrictFakeQuantize` has them).

    Args:
        grad: of the output, and of its shape.
        x, scale, zero_point, top, transform, invert, per_token: as of `fake_quantize`.
        again: filled with the output once more, if given; contiguous, of grad's shape.

    Returns:
        Tensors of the shapes of x, scale and zero point.

    Raises:
        CompSRTError: a tensor that the kernels cannot read or write.
        MemoryError: none is left for the sums.
    """
    x, grad = x.contiguous(), grad.contiguous()
    grad_x, grad_scale, grad_zero = (
        torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (x, scale, zero_point)
    )
    tensors = [x, grad, grad_x, again, grad_scale, grad_zero]
    width = x.shape[-1]
    _call("compsrt_fake_quantize_backward", tensors, width, scale, zero_point, top, transform, invert, per_token)
    return grad_x, grad_scale, grad_zero


def _vectors(width: int, transform: str) -> int:
    vectors = vectors_of(width, transform)
    if vectors is None:
        raise CompSRTError(
            f"the kernels have no code for rows of {width} with transform {transform!r}",
            hint="call torch.ops.compsrt.fake_quantize, which takes any tensor",
        )
    return vectors


def _call(
    name: str,
    tensors: list[Tensor | None],
    width: int,
    scale: Tensor,
    zero_point: Tensor,
    top: int,
    transform: str,
    invert: bool,
    per_token: bool,
) -> None:
    """Call a kernel on rows of `width`; the first of `tensors` is x."""
    found, vectors = library(), _vectors(width, transform)
    assert found is not None, "asked for without a library"
    x = tensors[0]
    assert x is not None
    rows, per_row = x.numel() // width if width else 0, scale.numel() > 1
    width_out = width if invert or transform == "none" else vectors * LANES
    scale, zero_point = scale.contiguous(), zero_point.contiguous()
    grids = rows if per_row else 1
    sizes = [rows * width, rows * width_out, rows * width, rows * width_out, grids, grids][: len(tensors)]
    pointers = [pointer(tensor, size) for tensor, size in zip(tensors, sizes)]
    grid = (pointer(scale, grids), pointer(zero_point, grids), int(per_row), int(per_token), float(top))
    if not rows:
        return
    threads = torch.get_num_threads() if x.numel() >= PARALLEL_FROM else 1
    shape = (rows, vectors, width, _TRANSFORMS[transform], int(invert))
    done = getattr(found, name)(*pointers, *shape, *grid, threads)
    if not done:
        raise MemoryError(f"{name}: no memory for the sums of {rows} rows")


def pointer(tensor: Tensor | None, size: int) -> int | None:
    """Return where a tensor's values lie, None for None.

    Every tensor that reaches a kernel is checked here.

    Raises:
        CompSRTError: it does not hold `size` values as the kernels read and write them.
    """
    if tensor is None:
        return None
    dense = tensor.layout == torch.strided and tensor.is_contiguous()
    readable = dense and _is_readable(tensor) and not tensor.is_neg()
    if not readable or tensor.numel() != size or (size and not tensor.data_ptr()):
        raise CompSRTError(
            f"a kernel got {type(tensor).__name__} {tuple(tensor.shape)}, {tensor.dtype}, {tensor.layout}, "
            f"on {tensor.device}",
            allowed=f"{size:,d} values, torch.float32, contiguous, on cpu",
            hint="call the operator in torch.ops.compsrt, which takes any tensor",
        )
    return tensor.data_ptr()
