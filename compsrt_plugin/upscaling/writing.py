"""A picture as the bytes of a PNG, JPEG, WebP or TIFF file, with its colour profile and EXIF data.

Eight bits go through Pillow, TIFF and PNG in 16 bits are written here: neither Pillow nor OpenCV writes both colour
in 16 bits and what goes with it.
"""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscaling.exif import PREFIX
from compsrt_plugin.upscaling.picture import Picture
from compsrt_plugin.upscaling.png import encode_png
from compsrt_plugin.upscaling.tiff import LARGEST_BYTES, encode_tiff

LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}  # pixels; libjpeg's and the format's own limits
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # colour at full resolution: the network has just made it
    "WebP": {"lossless": True, "exact": True},
}


def check_fits(kind: str, height: int, width: int, alpha: bool, sample_bytes: int) -> None:
    """Check that a format can hold a picture before it is made.

    Args:
        kind: a value of `formats.KINDS`.
        height, width: in pixels.
        alpha: whether it has alpha.
        sample_bytes: of all samples together.

    Raises:
        CompSRTError: it cannot.
    """
    if kind == "JPEG" and alpha:
        raise CompSRTError("JPEG holds no alpha", allowed="PNG, WebP, TIFF", hint="choose one with --format")
    longest = LONGEST_SIDE.get(kind)
    if longest is not None and max(height, width) > longest:
        raise CompSRTError(
            f"the result, {width} x {height} pixels, is too large for {kind}",
            allowed=f"sides of at most {longest}",
            hint="--format png",
        )
    if kind == "TIFF" and sample_bytes > LARGEST_BYTES:
        raise CompSRTError(
            f"the result, {width} x {height} pixels, is too large for TIFF", allowed="4 GB", hint="--format png"
        )


def encode(picture: Picture, kind: str) -> bytes:
    """Return the bytes of a file.

    Args:
        picture: what to write; JPEG and WebP hold it in 8 bits, each sample the nearest.
        kind: a value of `formats.KINDS`. JPEG has quality 95 with full colour resolution, the others lose nothing.

    Raises:
        CompSRTError: the EXIF data are longer than a JPEG can hold.
    """
    if kind == "TIFF":
        return encode_tiff(picture)
    if kind == "PNG" and picture.top > 255:
        return encode_png(picture)
    picture = picture.in_8_bits()
    if kind == "WebP":
        picture = picture.in_colour()
    samples = picture.samples()
    image = Image.fromarray(samples[..., 0] if picture.mode == "L" else samples, picture.mode)
    extra: dict[str, Any] = dict(OPTIONS[kind])
    if picture.icc is not None:
        extra["icc_profile"] = picture.icc
    if picture.exif is not None:
        extra["exif"] = PREFIX + picture.exif if kind == "JPEG" else picture.exif
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind.upper(), **extra)
    except ValueError as error:  # the one limit left: a JPEG's segment
        raise CompSRTError(f"{kind} cannot hold what goes with the picture ({error})", hint="--format png") from error
    return buffer.getvalue()
