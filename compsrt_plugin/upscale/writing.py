"""A picture as the bytes of a PNG, JPEG, WebP or TIFF file, with its colour profile and EXIF data.

Eight bits go through Pillow, TIFF and PNG in 16 bits are written here: neither Pillow nor OpenCV writes both colour
in 16 bits and what goes with it.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from PIL import Image

from compsrt_plugin.data.formats.png import with_chunks
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.exif import PREFIX, tiff_tags
from compsrt_plugin.upscale.icc import colours_of, profile_for
from compsrt_plugin.upscale.picture import Picture
from compsrt_plugin.upscale.png import encode_png
from compsrt_plugin.upscale.tiff import LARGEST_BYTES, encode_tiff

LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}  # pixels; libjpeg's and the format's own limits
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # colour at full resolution: the network has just made it
    "WebP": {"lossless": True, "exact": True},
}


def check_fits(kind: str, height: int, width: int, alpha: bool, sample_bytes: int) -> None:
    """Check that a format can hold a picture before it is made.

    Args:
        kind: a value of `kinds.KINDS`.
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


def fitted(picture: Picture, kind: str) -> Picture:
    """Return what a format can hold of a picture: JPEG and WebP 8 bits, WebP no grey, only PNG PNG's colour chunks.

    Those become an ICC profile that says the same; what none can say is left out and noted, as are EXIF data too
    damaged for a TIFF, which has them as tags.

    Args:
        picture: what is to be written.
        kind: a value of `kinds.KINDS`.
    """
    if kind in ("JPEG", "WebP"):
        picture = picture.in_8_bits()
    if kind == "WebP" or (kind == "TIFF" and picture.mode == "LA" and picture.top > 255):
        picture = picture.in_colour()  # of TIFFs Pillow does not open grey with alpha in 16 bits
    if kind != "PNG" and picture.colour_chunks:
        picture = _with_profile(picture)
    if kind == "TIFF" and picture.exif is not None:
        try:
            tiff_tags(picture.exif)
        except Exception:  # Pillow's parser raises whatever it stumbles over
            picture = replace(picture, exif=None).noting("its EXIF data are damaged and left out")
    return picture


def _with_profile(picture: Picture) -> Picture:
    """Return the picture with a profile in place of a PNG's colour chunks; a profile of its own comes first."""
    chunks = {chunk.name: chunk.data for chunk in picture.colour_chunks}
    bare = replace(picture, colour_chunks=())
    if picture.icc is not None:
        return bare
    colours = colours_of(chunks)
    if colours is None:
        names = ", ".join(name.decode() for name in chunks)
        return bare.noting(f"no profile can say what its colour chunks say: {names} left out, which --format png keeps")
    return replace(bare, icc=profile_for(colours, grey=picture.colour.shape[2] == 1))


def encode(picture: Picture, kind: str) -> bytes:
    """Return the bytes of a file.

    Args:
        picture: what to write; `fitted` says what is kept.
        kind: a value of `kinds.KINDS`. JPEG has quality 95 with full colour resolution, the others lose nothing.

    Raises:
        CompSRTError: the EXIF data are longer than a JPEG can hold.
    """
    picture = fitted(picture, kind)
    if kind == "TIFF":
        return encode_tiff(picture)
    content = encode_png(picture) if picture.top > 255 else _by_pillow(picture, kind)
    return with_chunks(content, picture.colour_chunks) if kind == "PNG" else content


def _by_pillow(picture: Picture, kind: str) -> bytes:
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
