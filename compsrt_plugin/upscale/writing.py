"""Encode an image as a PNG, JPEG, WebP or TIFF file, with its colour profile and EXIF data.

Pillow writes 8 bits. `tiff_writer` and `png_writer` write TIFF and 16-bit PNG, because neither Pillow nor OpenCV writes
16-bit colour of every kind together with its metadata.
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
from compsrt_plugin.upscale.image import DecodedImage
from compsrt_plugin.upscale.png_writer import encode_png
from compsrt_plugin.upscale.tiff_writer import LARGEST_BYTES, encode_tiff

LONGEST_SIDE = {"JPEG": 65_500, "WebP": 16_383}  # pixels; the limits of libjpeg and of the format
OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # keep the colour resolution that the network made
    "WebP": {"lossless": True, "exact": True},
}


def check_fits(kind: str, height: int, width: int, alpha: bool, sample_bytes: int) -> None:
    """Check that a format can hold an image, before the image is made.

    Args:
        kind: a value of `kinds.FORMATS`.
        height, width: size in pixels.
        alpha: whether the image has alpha.
        sample_bytes: bytes of all samples.

    Raises:
        CompSRTError: the format has no alpha, or the image is too large for it.
    """
    if kind == "JPEG" and alpha:
        raise CompSRTError("JPEG has no alpha", allowed="PNG, WebP, TIFF", hint="choose one with --format")
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


def fitted(image: DecodedImage, kind: str) -> DecodedImage:
    """Return the image converted to what a format can hold.

    JPEG and WebP hold 8 bits, WebP holds no grey, and only PNG holds colour chunks. Colour chunks become an equal ICC
    profile. If no profile can express them, they are dropped with a note. EXIF data that are too damaged to become the
    tags of a TIFF are dropped with a note too.

    Args:
        image: the image to write.
        kind: a value of `kinds.FORMATS`.
    """
    if kind in ("JPEG", "WebP"):
        image = image.in_8_bits()
    if kind == "WebP" or (kind == "TIFF" and image.mode == "LA" and image.top > 255):
        image = image.in_colour()  # Pillow cannot open such a TIFF
    if kind != "PNG" and image.colour_chunks:
        image = _with_profile(image)
    if kind == "TIFF" and image.exif is not None:
        try:
            tiff_tags(image.exif)
        except Exception:  # damaged data can make Pillow's parser raise anything
            image = replace(image, exif=None).noting("its EXIF data are damaged and left out")
    return image


def _with_profile(image: DecodedImage) -> DecodedImage:
    """Return the image with an ICC profile in place of PNG colour chunks. A profile of the file has precedence."""
    chunks = {chunk.name: chunk.data for chunk in image.colour_chunks}
    bare = replace(image, colour_chunks=())
    if image.icc is not None:
        return bare
    colours = colours_of(chunks)
    if colours is None:
        names = ", ".join(name.decode() for name in chunks)
        return bare.noting(f"no ICC profile can express its colour chunks: {names} left out, which --format png keeps")
    return replace(bare, icc=profile_for(colours, grey=image.colour.shape[2] == 1))


def encode_image(image: DecodedImage, kind: str) -> bytes:
    """Return an image as the bytes of a file.

    JPEG is written at quality 95 with full colour resolution. The other formats are lossless.

    Args:
        image: the image to write; see `fitted` for what each format keeps.
        kind: a value of `kinds.FORMATS`.

    Raises:
        CompSRTError: the EXIF data or the profile are longer than a JPEG can hold.
    """
    image = fitted(image, kind)
    if kind == "TIFF":
        return encode_tiff(image)
    content = encode_png(image) if image.top > 255 else _by_pillow(image, kind)
    return with_chunks(content, image.colour_chunks) if kind == "PNG" else content


def _by_pillow(image: DecodedImage, kind: str) -> bytes:
    samples = image.samples()
    plain = Image.fromarray(samples[..., 0] if image.mode == "L" else samples, image.mode)
    extra: dict[str, Any] = dict(OPTIONS[kind])
    if image.icc is not None:
        extra["icc_profile"] = image.icc
    if image.exif is not None:
        extra["exif"] = PREFIX + image.exif if kind == "JPEG" else image.exif
    buffer = io.BytesIO()
    try:
        plain.save(buffer, kind.upper(), **extra)
    except ValueError as error:  # a JPEG segment is limited to 64 KiB
        raise CompSRTError(f"{kind} cannot hold the metadata of the image ({error})", hint="--format png") from error
    return buffer.getvalue()
