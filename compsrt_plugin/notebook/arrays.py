"""Convert NumPy arrays, PIL images and tensors to arrays (height, width, channels) and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compsrt_plugin.errors import CompSRTError

ARRAYS = "(h, w), (h, w, c) or (n, h, w, c) with 1 to 4 channels: grey, grey and alpha, RGB, RGBA"
TENSORS = "(c, h, w) or (n, c, h, w) with 1 to 4 channels: grey, grey and alpha, RGB, RGBA"
DTYPES = "uint8, uint16, or floating-point in 0 to 1"
OVERSHOOT = 1.0  # allowed beyond 0..1: resizing by splines overshoots a little, samples in 0..255 exceed it

Back = Callable[[list[np.ndarray]], Any]


def unpack(image: Any) -> tuple[list[np.ndarray], Back]:
    """Return images as arrays, and a function that converts results back to the given type.

    Args:
        image: a NumPy array, a tensor or a PIL image.

    Returns:
        Arrays (h, w, c) of uint8, uint16 or float32, and a function that takes the same number of arrays of any size.

    Raises:
        CompSRTError: the type, shape or dtype is not supported, there are no pixels, or floating-point samples are not
            in 0 to 1.
    """
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, Tensor):
        return _from_tensor(image)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise CompSRTError(f"an image is a {type(image).__name__}", allowed="a NumPy array, a tensor, a PIL image, a path")


def to_pil(samples: np.ndarray, info: dict[Any, Any] | None = None) -> Image.Image:
    """Return (h, w, c) samples as a PIL image with the entries `info`."""
    made = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    made.info.update(info or {})
    return made


def _from_array(array: np.ndarray) -> tuple[list[np.ndarray], Back]:
    batch = array[None] if array.ndim == 3 else array[None, :, :, None] if array.ndim == 2 else array
    if batch.ndim != 4 or not 1 <= batch.shape[3] <= 4:
        raise CompSRTError(f"an array has the shape {array.shape}", allowed=ARRAYS)

    def back(made: list[np.ndarray]) -> np.ndarray:
        stacked = np.stack(made).astype(array.dtype, copy=False)
        return stacked if array.ndim == 4 else stacked[0] if array.ndim == 3 else stacked[0, :, :, 0]

    return [_samples(one, array.dtype) for one in batch], back


def _from_tensor(tensor: Tensor) -> tuple[list[np.ndarray], Back]:
    batch = tensor[None] if tensor.ndim == 3 else tensor
    if batch.ndim != 4 or not 1 <= batch.shape[1] <= 4:
        raise CompSRTError(f"a tensor has the shape {tuple(tensor.shape)}", allowed=TENSORS)
    plain = batch.detach().cpu()
    array = (plain.float() if plain.is_floating_point() else plain).permute(0, 2, 3, 1).numpy()

    def back(made: list[np.ndarray]) -> Tensor:
        stacked = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()
        return (stacked if tensor.ndim == 4 else stacked[0]).to(tensor.device, tensor.dtype)

    return [_samples(one, tensor.dtype) for one in array], back


def _from_pil(image: Image.Image) -> tuple[list[np.ndarray], Back]:
    mode = image.mode
    if mode == "1":
        image = image.convert("L")
    elif mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif not (mode in ("L", "LA", "RGB", "RGBA") or mode.startswith("I;16")):
        raise CompSRTError(
            f"a PIL image has the mode {mode}",
            allowed="L, LA, RGB, RGBA, P, 1, I;16",
            hint='call .convert("RGB") first',
        )
    kept = {key: image.info[key] for key in ("icc_profile", "exif", "dpi") if key in image.info}
    array = np.asarray(image)
    samples = _samples(array[:, :, None] if array.ndim == 2 else array, array.dtype)
    return [samples], lambda made: to_pil(made[0], kept)


def _samples(array: np.ndarray, dtype: object) -> np.ndarray:
    """Return the array as uint8, uint16 or float32 in 0 to 1. Raise CompSRTError for anything else."""
    if not array.size:
        raise CompSRTError("an image has no pixels", allowed="at least 1 x 1")
    if array.dtype in (np.uint8, np.uint16):
        return array
    if array.dtype.kind != "f":
        raise CompSRTError(f"an image has the dtype {dtype}", allowed=DTYPES)
    array = array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):  # NaN too
        raise CompSRTError(
            f"an image of dtype {dtype} has samples from {low:.3g} to {high:.3g}",
            allowed="0 to 1",
            hint="divide by 255",
        )
    return array.clip(0, 1)
