"""Read a picture file with all that must outlive the enlargement: depth, alpha, grey, colour profile, EXIF.

Pillow reads everything except colour in 16 bits, which it would cut to 8; that OpenCV reads, and the rest of such a
file Pillow again.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from compsrt_plugin.data.images import damaged_picture, picture_bytes
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscaling.exif import exif_of, upright
from compsrt_plugin.upscaling.picture import Picture

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
SEVERAL_ALLOWED = "MPO"  # what Pillow makes of a phone's JPEG with a smaller one behind it; the first counts
ALLOWED = "PNG, JPEG, WebP or TIFF with one picture, grey or RGB, 8 or 16 bits, with or without alpha"
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # a TIFF's tags
PNG_GREY_ALPHA = 4  # colour type, in the byte behind the depth


def read_picture(path: Path) -> Picture:
    """Read a picture, its pixels as they lie.

    A palette becomes RGB, black and white becomes grey in 8 bits; a colour that is marked as transparent becomes
    alpha.

    Raises:
        CompSRTError: the file cannot be read, is damaged, or of a kind that is not handled (CMYK, several frames).
    """
    content = picture_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, and of odd EXIF data
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                exif = exif_of(image) if image.format == "TIFF" else None  # while it still says how it was turned
            with Image.open(io.BytesIO(upright(content)), formats=FORMATS) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != SEVERAL_ALLOWED:
                    raise CompSRTError(f"{path} holds {frames} pictures", allowed=ALLOWED)
                image.load()  # to the end, so that a file cut short is found
                colour, alpha = _samples(image, content, path)
                return Picture(colour, alpha, image.info.get("icc_profile") or None, exif or exif_of(image))
    except CompSRTError:
        raise
    except UnidentifiedImageError as error:
        raise CompSRTError(f"{path} is not a picture that can be read", allowed=ALLOWED) from error
    except MemoryError as error:
        raise CompSRTError(f"the picture {path} does not fit into memory") from error
    except Exception as error:  # Pillow's parsers raise whatever they stumble over
        raise damaged_picture(path, error) from error


def _samples(image: Image.Image, content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colour (h, w, 1 or 3) and alpha (h, w) of a loaded picture."""
    wide = _is_16_bit(image, content)
    if wide and image.mode in ("LA", "RGB", "RGBA"):
        return _wide_colour(image, content)
    if image.mode.startswith("I"):
        if not wide:
            raise CompSRTError(f"{path} has 32 bits per sample", allowed=ALLOWED)
        grey = np.asarray(image).astype(np.uint16)[..., None]
        if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
            grey = 65535 - grey  # white is 0; Pillow turns it round in 8 bits alone
        return grey, _keyed_alpha(grey, image.info.get("transparency"))
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
        raise CompSRTError(f"{path} is {image.mode}", allowed=ALLOWED, hint="convert it first")
    transparent = image.has_transparency_data
    grey = image.mode in ("1", "L", "LA", "La")
    wanted = ("L" if grey else "RGB") + ("A" if transparent else "")
    samples = np.asarray(image if image.mode == wanted else _converted(image, wanted))
    samples = samples.reshape(*samples.shape[:2], -1)
    return (samples[..., :-1], samples[..., -1]) if transparent else (samples, None)


def _converted(image: Image.Image, wanted: str) -> Image.Image:
    if image.mode == "La":  # Pillow takes this one back to LA alone
        return image.convert("LA").convert(wanted)
    if image.mode == "RGBa":
        return image.convert("RGBA").convert(wanted)
    return image.convert(wanted)


def _is_16_bit(image: Image.Image, content: bytes) -> bool:
    if image.format == "PNG":
        return content[24] == 16  # the header chunk comes first, its depth after width and height
    depths = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return image.format == "TIFF" and max(depths) == 16


def _wide_colour(image: Image.Image, content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    samples = cv2.imdecode(np.frombuffer(upright(content), np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.shape[:2] != (image.height, image.width):
        raise ValueError("its 16-bit samples cannot be decoded")
    samples = samples.reshape(*samples.shape[:2], -1)
    channels = samples.shape[2]
    alpha = samples[..., 3] if channels == 4 else samples[..., 1] if channels == 2 else None
    if image.format == "PNG" and content[25] == PNG_GREY_ALPHA:
        return samples[..., :1], alpha  # OpenCV repeats grey three times
    colour = np.ascontiguousarray(samples[..., 2::-1])
    return colour, _keyed_alpha(colour, image.info.get("transparency")) if alpha is None else alpha


def _keyed_alpha(colour: np.ndarray, key: object) -> np.ndarray | None:
    """Return alpha where one colour of a PNG is marked as transparent."""
    if not isinstance(key, (int, tuple)):
        return None
    seen = (colour != np.array(key, np.uint16)).any(2)
    return seen.astype(np.uint16) * np.uint16(65535)
