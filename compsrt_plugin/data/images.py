"""Read pictures as BasicSR does, but with a clear error for each that cannot be read; write whole PNGs."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
ALLOWED = "8- or 16-bit PNG, JPEG, BMP, TIFF, WebP or PPM, grey or colour, with or without alpha"
_EXIF_ORIENTATION = 0x0112


def pictures_in(folder: Path) -> list[Path]:
    """List a folder's pictures (by file ending, hidden files left out), sorted by name.

    Raises:
        CompSRTError: no such folder, it cannot be read, or no picture lies in it.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CompSRTError(
            f"cannot read the picture folder {folder}: {error.strerror or error}", hint="check the path"
        ) from error
    pictures = [p for p in entries if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file()]
    if not pictures:
        raise CompSRTError(
            f"no pictures in {folder} ({len(entries)} other entries)",
            allowed=f"files ending in {' '.join(SUFFIXES)}, directly in it",
        )
    return pictures


def read_image(path: Path) -> np.ndarray:
    """Read a whole picture exactly as BasicSR's `imfrombytes` does, and make sure the file is sound.

    Grey becomes three equal channels, alpha is dropped, 16 bits become 8, and an EXIF orientation is applied:
    all of it by OpenCV's IMREAD_COLOR, which BasicSR uses.

    Returns:
        uint8, (height, width, 3), channels blue, green, red.

    Raises:
        CompSRTError: the file cannot be read, is empty, damaged, or not a picture.
    """
    content = picture_bytes(path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG":
                image.verify()  # checksums of all chunks, without inflating them
            else:
                image.draft("L", (1, 1))  # a JPEG's data are then read to the end, but cheaply
                image.load()
    except UnidentifiedImageError:
        pass  # OpenCV knows kinds that Pillow does not (16-bit colour TIFF) and has the last word below
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        raise damaged_picture(path, error) from error
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise damaged_picture(path, error) from error
    if image is None:
        raise _no_picture(path)
    return np.asarray(image, dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels as `read_image` would give it, from the file's header alone.

    Raises:
        CompSRTError: the file cannot be read, is empty, or has no header of a picture.
    """
    refuse_special(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = "exif" in image.info and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    except UnidentifiedImageError:
        height, width = read_image(path).shape[:2]
        return height, width
    except OSError as error:
        picture_bytes(path)  # says better what is wrong if the file itself cannot be read
        raise damaged_picture(path, error) from error
    except Exception as error:  # as in read_image
        raise damaged_picture(path, error) from error


def stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew: its length and time; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def write_image(path: Path, image: np.ndarray) -> int:
    """Write a PNG that is either whole or not there; makes its folder where needed.

    Args:
        path: where it goes; an older file there is replaced.
        image: uint8, (height, width) or (height, width, 3) as blue, green, red.

    Returns:
        Its length in bytes.

    Raises:
        UnwritableError: folder not writable, disk full.
    """
    done, encoded = cv2.imencode(".png", image)
    if not done:
        raise ValueError(f"OpenCV cannot write {image.dtype} of shape {image.shape} as PNG")
    # No sync: a picture can be made again, and those who look for it compare its length too.
    write_whole(path, encoded.tobytes(), sync=False)
    return len(encoded)


def picture_bytes(path: Path) -> bytes:
    """Return a picture file's content.

    Raises:
        CompSRTError: it cannot be read, or is empty.
    """
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            raise CompSRTError(
                f"cannot read the picture {path}: it is not a regular file"
            )  # a pipe would be waited for
        content = path.read_bytes()
    except OSError as error:
        raise CompSRTError(f"cannot read the picture {path}: {error.strerror or error}") from error
    if not content:
        raise CompSRTError(f"the picture {path} is empty (0 bytes)", hint="copy it again or remove it")
    return content


def refuse_special(path: Path) -> None:
    """Raise CompSRTError for a pipe or a device: to open one would wait, or never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CompSRTError(f"cannot read the picture {path}: it is not a regular file")


def damaged_picture(path: Path, error: Exception) -> CompSRTError:
    """Return what to raise for a picture whose decoder stumbled over `error`."""
    return CompSRTError(f"the picture {path} is damaged ({error})", hint="copy it again or remove it")


def _no_picture(path: Path) -> CompSRTError:
    return CompSRTError(f"{path} is not a picture", allowed=ALLOWED, hint="remove it from this folder")
