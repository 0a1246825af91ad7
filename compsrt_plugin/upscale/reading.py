"""Decode an image file with everything that the enlarged image keeps: depth, alpha, grey, colour profile, EXIF.

The first bytes of a file determine its format, not its extension. Pixels and metadata are read separately, so that an
image with damaged EXIF data is still usable.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from compsrt_plugin.buckets import Place
from compsrt_plugin.data.formats.jpeg import with_end
from compsrt_plugin.data.formats.kinds import format_of
from compsrt_plugin.data.formats.limits import quiet_and_any_size
from compsrt_plugin.data.formats.png import PIXEL_CHUNKS, Chunk, assembled, chunks_of, frames_of
from compsrt_plugin.data.images import damaged_image, image_bytes, not_an_image
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.exif import PREFIX, exif_of, exif_of_tiff
from compsrt_plugin.upscale.image import COLOUR_CHUNKS, DecodedImage

_ALLOWED = "PNG, JPEG, WebP or TIFF with one image, grey or RGB, with or without alpha"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types of a PNG
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # PNG text chunks, in which older programs store EXIF data


def decode_image(path: Place) -> DecodedImage:
    """Decode an image file, or an object of a bucket, with its pixels in file order.

    A palette becomes RGB. Less than 8 bits become 8, and 9 to 15 bits become 16. A colour marked as transparent becomes
    alpha. The notes of the image list what was dropped.

    Raises:
        CompSRTError: the file cannot be read, is damaged, or is of an unsupported kind (CMYK, several frames).
    """
    content = image_bytes(path)
    try:
        kind = format_of(content)
        if kind is None:
            raise not_an_image(path, content, _ALLOWED)
        with quiet_and_any_size():
            return READERS[kind](content, path)
    except CompSRTError:
        raise
    except MemoryError as error:
        raise CompSRTError(f"the image {path} does not fit into memory") from error
    except Exception as error:  # damaged data can make a parser raise anything
        raise damaged_image(path, error) from error


def _read_png(content: bytes, path: Place) -> DecodedImage:
    chunks = chunks_of(content)
    if chunks[0].name != b"IHDR":
        what = "in Apple's variant of PNG" if chunks[0].name == b"CgBI" else "without a header"
        raise CompSRTError(f"{path} is {what}", allowed=_ALLOWED, hint="convert it first")
    if frames_of(chunks) > 1:
        raise CompSRTError(f"{path} holds {frames_of(chunks)} images", allowed=_ALLOWED)
    first = {chunk.name: chunk.data for chunk in reversed(chunks)}
    colour, alpha = _png_samples(chunks, first)
    notes: list[str] = []
    icc = _or_note(lambda: _profile_in(first.get(b"iCCP")), "its colour profile is", notes)
    exif = first.get(b"eXIf")
    if exif is None and any(chunk.name in TEXTS for chunk in chunks):
        exif = _or_note(lambda: _exif_in_texts(chunks), "EXIF data in its texts are", notes)
    tags = [Chunk(name, first[name]) for name in COLOUR_CHUNKS if name in first]
    if any(len(tag.data) != COLOUR_CHUNKS[tag.name] for tag in tags):
        notes.append("a colour chunk of the wrong length is left out")
    kept = tuple(tag for tag in tags if len(tag.data) == COLOUR_CHUNKS[tag.name])
    return DecodedImage(colour, alpha, icc, exif and exif.removeprefix(PREFIX), kept, tuple(notes))


def _png_samples(chunks: list[Chunk], first: dict[bytes, bytes]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colour (h, w, 1 or 3) and alpha (h, w)."""
    depth, kind = struct.unpack_from(">BB", first[b"IHDR"], 8)
    key = first.get(b"tRNS") if kind in (GREY, RGB) else None
    bare = assembled(chunks, [name for name in PIXEL_CHUNKS if name != b"tRNS" or kind == PALETTE])
    with Image.open(io.BytesIO(bare), formats=("PNG",)) as image:
        image.load()  # reads to the end, which detects a truncated file
        if depth == 16 and kind != GREY:
            samples = _by_opencv(bare, grey=kind == GREY_ALPHA)
        elif kind == PALETTE:
            samples = np.asarray(image.convert("RGBA" if key is None and "transparency" in image.info else "RGB"))
        else:
            samples = np.asarray(image.convert("L") if image.mode == "1" else image)
    samples = samples.astype(np.uint16 if depth == 16 else np.uint8, copy=False).reshape(*samples.shape[:2], -1)
    if samples.shape[2] in (2, 4):
        return np.ascontiguousarray(samples[..., :-1]), np.ascontiguousarray(samples[..., -1])
    if key is None:
        return samples, None
    top, full = (1 << depth) - 1, int(np.iinfo(samples.dtype).max)
    numbers = np.frombuffer(key[: 2 * samples.shape[2]], ">u2").astype(np.uint32) & top
    seen = (samples != (numbers * full // top).astype(samples.dtype)).any(2)
    return samples, seen.astype(samples.dtype) * samples.dtype.type(full)


def _by_opencv(content: bytes, *, grey: bool) -> np.ndarray:
    """Return 16-bit samples, which Pillow would reduce to 8 bits."""
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise ValueError("its 16-bit samples cannot be decoded")
    if grey:
        return samples[..., 2:]  # OpenCV returns grey as three equal channels
    return samples[..., [2, 1, 0, 3][: samples.shape[2]]]


def _profile_in(chunk: bytes | None) -> bytes | None:
    return None if chunk is None else zlib.decompress(chunk[chunk.index(b"\0") + 2 :])


def _exif_in_texts(chunks: list[Chunk]) -> bytes | None:
    texts = [chunk for chunk in chunks if chunk.name in TEXTS]
    header, *rest = (chunk for chunk in chunks if chunk.name not in TEXTS)
    described = assembled([header, *texts, *rest], (b"IHDR", b"PLTE", b"IDAT", *TEXTS))
    with Image.open(io.BytesIO(described), formats=("PNG",)) as image:
        return exif_of(image)


def _read_jpeg(content: bytes, path: Place) -> DecodedImage:
    notes: list[str] = []
    # Not Image.open, which would look for further images behind the first, as phones write them.
    with JpegImageFile(io.BytesIO(with_end(content))) as image:
        image.load()
        icc = image.info.get("icc_profile")
        if not icc and any(name == "APP2" and data.startswith(b"ICC_PROFILE\0") for name, data in image.applist):
            notes.append("its colour profile is damaged and left out")
        return _by_pillow(image, path, icc, notes)


def _read_webp(content: bytes, path: Place) -> DecodedImage:
    with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise CompSRTError(f"{path} holds {frames} images", allowed=_ALLOWED)
        image.load()
        return _by_pillow(image, path, image.info.get("icc_profile"), [])


def _by_pillow(image: Image.Image, path: Place, icc: bytes | None, notes: list[str]) -> DecodedImage:
    if image.mode not in ("L", "RGB", "RGBA"):
        raise CompSRTError(f"{path} is {image.mode}", allowed=_ALLOWED, hint="convert it first")
    samples = np.asarray(image)
    samples = samples.reshape(*samples.shape[:2], -1)
    alpha = samples[..., 3] if samples.shape[2] == 4 else None
    exif = _or_note(lambda: exif_of(image), "its EXIF data are", notes)
    return DecodedImage(samples[..., :3], alpha, icc or None, exif, notes=tuple(notes))


def _read_tiff(content: bytes, path: Place) -> DecodedImage:
    from compsrt_plugin.data.formats.tiff import read_tiff  # tifffile is slow to import

    found = read_tiff(content, path)
    notes = list(found.notes)
    exif = _or_note(lambda: exif_of_tiff(content, found.directory), "its EXIF data are", notes)
    return DecodedImage(found.colour, found.alpha, found.icc, exif, notes=tuple(notes))


READERS: dict[str, Callable[[bytes, Place], DecodedImage]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "WebP": _read_webp,
    "TIFF": _read_tiff,
}


def _or_note(read: Callable[[], bytes | None], what: str, notes: list[str]) -> bytes | None:
    """Return what `read` returns, or None with a note if the data are damaged. The pixels are still usable."""
    try:
        return read()
    except Exception:  # damaged data can make a parser raise anything
        notes.append(f"{what} damaged and left out")
        return None
