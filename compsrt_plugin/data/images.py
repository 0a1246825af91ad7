"""Read images like BasicSR, but with a clear error for each that cannot be read. Write PNGs atomically."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from compsrt_plugin.buckets import Place
from compsrt_plugin.data.formats.jpeg import with_end
from compsrt_plugin.data.formats.kinds import format_of
from compsrt_plugin.data.formats.limits import quiet_and_any_size
from compsrt_plugin.data.formats.png import chunks_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_ALLOWED = "8- or 16-bit PNG, JPEG, BMP, TIFF, WebP or PPM, grey or colour, with or without alpha"
ROUNDING = 2  # largest difference of decoders in grey levels
_EXIF_ORIENTATION = 0x0112


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name: files with an image extension that are not hidden.

    Raises:
        CompSRTError: the folder is missing, cannot be read, or has no images.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CompSRTError(
            f"cannot read the image folder {folder}: {error.strerror or error}", hint="check the path"
        ) from error
    found = [p for p in entries if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()]
    if not found:
        raise CompSRTError(
            f"no images in {folder} ({len(entries)} other entries)",
            allowed=f"files ending in {' '.join(SUFFIXES)}, directly in it",
        )
    return found


def read_image(path: Path) -> np.ndarray:
    """Return an image exactly as BasicSR's `imfrombytes` does, after checking that the file is undamaged.

    OpenCV's IMREAD_COLOR, which BasicSR uses, makes three equal channels of grey, drops alpha, reduces 16 bits to 8,
    and applies an EXIF orientation.

    Returns:
        uint8, (height, width, 3), channels blue, green, red.

    Raises:
        CompSRTError: the file cannot be read, is empty, damaged, not an image, or a TIFF that OpenCV decodes wrongly.
    """
    content = image_bytes(path)
    try:
        with quiet_and_any_size():
            content = _sound(content)
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except Exception as error:  # damaged data can make a parser raise anything
        raise damaged_image(path, error) from error
    kind = format_of(content)
    if kind == "TIFF":
        _check_tiff(path, content, image)
    if image is None and kind is not None:
        raise CompSRTError(
            f"{path} is a {kind} that OpenCV, which BasicSR uses, cannot decode", hint="convert it to an 8-bit PNG"
        )
    if image is None:
        raise not_an_image(path, content, _ALLOWED)
    return np.asarray(image, dtype=np.uint8)


def _sound(content: bytes) -> bytes:
    """Return the content of a file, with an end marker for a JPEG. Any exception for a truncated or damaged file."""
    kind = format_of(content)
    if kind == "PNG":
        chunks_of(content)  # checks checksums without inflating; damaged metadata are allowed
        return content
    if kind == "JPEG":
        content = with_end(content)
    if kind != "TIFF":
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.draft("L", (1, 1))  # reads the data of a JPEG to the end, but cheaply
                image.load()
        except UnidentifiedImageError:
            pass  # OpenCV supports formats that Pillow does not
    return content


def _check_tiff(path: Path, content: bytes, seen: np.ndarray | None) -> None:
    """Compare OpenCV's result for a TIFF with its tags. OpenCV ignores planes and the meaning of alpha."""
    from compsrt_plugin.data.formats.tiff import read_tiff, turned  # tifffile is slow to import

    try:
        with quiet_and_any_size():
            decoded = read_tiff(content, path)
    except CompSRTError:
        raise
    except Exception as error:  # as in read_image
        raise damaged_image(path, error) from error
    if seen is None:
        return
    colour = turned(decoded.colour, decoded.orientation)[..., ::-1]
    levels = colour if colour.dtype == np.uint8 else colour >> 8
    alike = seen.shape[:2] == levels.shape[:2] and np.abs(seen - levels.astype(np.int16)).max() <= ROUNDING
    if not decoded.lossless or alike:
        return
    raise CompSRTError(
        f"{path} is a TIFF that OpenCV, which BasicSR uses, decodes differently from what its tags say",
        hint="convert it to PNG",
    )


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels of the result of `read_image`, from the header of the file.

    Raises:
        CompSRTError: the file cannot be read, is empty, or has no image header.
    """
    try:
        refuse_special(path)
        with quiet_and_any_size(), Image.open(path) as image:
            width, height = image.size
            # Pillow already turns the size of a TIFF
            turned = "exif" in image.info and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    except CompSRTError:
        raise
    except Exception:  # as in read_image, which can read more headers and has better messages
        height, width = read_image(path).shape[:2]
        return height, width


def stamp(path: Path) -> tuple[int, int] | None:
    """Return (length, modification time) of a file, which change when it is rewritten; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def write_image(path: Path, image: np.ndarray) -> int:
    """Write a PNG atomically and return its length in bytes. Creates the folder if necessary.

    Args:
        path: the file, which replaces an older one.
        image: uint8, (height, width) or (height, width, 3) as blue, green, red.

    Raises:
        UnwritableError: the folder is not writable, or the disk is full.
    """
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise ValueError(f"OpenCV cannot write {image.dtype} of shape {image.shape} as PNG")
    # No sync: an image can be made again, and readers compare its length too.
    write_whole(path, encoded.tobytes(), sync=False)
    return len(encoded)


def image_bytes(path: Place) -> bytes:
    """Return the content of an image file, or of an object of a bucket.

    Raises:
        CompSRTError: the file cannot be read, or is empty.
    """
    try:
        if isinstance(path, Path):
            refuse_special(path)
        content = path.read_bytes()
    except OSError as error:
        raise CompSRTError(f"cannot read the image {path}: {error.strerror or error}") from error
    if not content:
        raise CompSRTError(f"the image {path} is empty (0 bytes)", hint="copy it again from its source")
    return content


def refuse_special(path: Path) -> None:
    """Raise CompSRTError for a pipe or a device, whose reading would wait or never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CompSRTError(f"cannot read the image {path}: it is not a regular file")


def damaged_image(path: Place, error: Exception) -> CompSRTError:
    """Return the error for an image whose decoder raised `error`."""
    return CompSRTError(f"the image {path} is damaged ({error})", hint="copy it again from its source")


def not_an_image(path: Place, content: bytes, allowed: str) -> CompSRTError:
    """Return the error for a file of an unsupported format. It names the format if Pillow knows it."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            what = f"an image of the kind {image.format}"
    except Exception:  # as in read_image
        what = "not an image"
    return CompSRTError(f"{path} is {what}", allowed=allowed)
