"""Prepare the images of the page: whole images, error maps, and the regions in which contestants differ most."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compsrt_plugin.compare.gather import Gathering
from compsrt_plugin.compare.judging import ImageKey
from compsrt_plugin.data.images import read_image
from compsrt_plugin.report.crop import Crop, Pixels, differing_crop, luma_range
from compsrt_plugin.report.drawing import from_bgr, png_bytes
from compsrt_plugin.terminal import progress

_LOSSLESS_QUALITY = 100
QUALITIES = (_LOSSLESS_QUALITY, 95, 90)  # WebP qualities, tried in turn until the page is small enough
BUDGET = 19_000_000  # bytes of all images as base64; the rest of 20 MB is for figures and code
CROP = 80  # pixels per side
STEPS, STEP = 16, 2  # number of levels of an error map, and the error per level in grey levels of the image
_FEWEST = 2  # images to compare


Images = list[bytes | None]
"""Files of the original and of every contestant's image, in this order; None if there is no image."""


@dataclass(frozen=True)
class Details:
    """The lossless parts of one image in the page.

    Attributes:
        width, height: size of the image in pixels.
        difference: mean squared range of luma over the contestants.
        box: the region in which they differ most.
        crops: that region of every image as PNG.
        errors: error maps of the contestants as PNG; the original has none.
    """

    width: int
    height: int
    difference: float
    box: Crop
    crops: Images
    errors: Images


@dataclass(frozen=True)
class Sight:
    """One image as the page shows it.

    Attributes:
        details: the lossless parts.
        whole: the whole images as WebP.
        quality: `_LOSSLESS_QUALITY`, or the quality of WebP.
    """

    details: Details
    whole: Images
    quality: int

    @property
    def size(self) -> int:
        """Bytes in the page, as base64."""
        images = [*self.details.crops, *self.details.errors, *self.whole]
        return sum(-(-len(image) // 3) * 4 for image in images if image is not None)


@dataclass(frozen=True)
class Sights:
    """The images of the page.

    Attributes:
        shown: image -> what the page shows.
        left_out: images that do not fit into the page.
        unseen: images with fewer than two versions to compare.
    """

    shown: Mapping[ImageKey, Sight]
    left_out: list[ImageKey]
    unseen: list[ImageKey]


def sights(gathered: Gathering, budget: int = BUDGET) -> Sights:
    """Return the images of the page, within its size.

    Whole images are lossless if all fit, else of the best quality at which they fit. If they do not fit at the lowest
    quality, the images in which the contestants differ least are left out. Crops and error maps are always lossless.

    Args:
        gathered: the contestants, images and settings.
        budget: bytes of all images as base64.
    """
    seen = [key for key in gathered.keys if sum(file is not None for file in _files(gathered, key)) >= _FEWEST]
    details = {key: _details(_files(gathered, key)) for key in progress(seen, desc="page", unit="images", leave=False)}
    order = sorted(seen, key=lambda key: -details[key].difference)
    shown: dict[ImageKey, Sight] = {}
    for quality in QUALITIES:
        room, shown = budget, {}
        for key in order:
            sight = Sight(details[key], [_webp(file, quality) for file in _files(gathered, key)], quality)
            room -= sight.size
            if room < 0:
                break
            shown[key] = sight
        if len(shown) == len(order):
            break
    return Sights(
        shown={key: shown[key] for key in seen if key in shown},
        left_out=[key for key in seen if key not in shown],
        unseen=[key for key in gathered.keys if key not in details],
    )


def error_map(image: Pixels, original: Pixels) -> NDArray[np.uint8]:
    """Return |Y - Y of the original| in steps of `STEP` grey levels, at most `STEPS` - 1.

    Y is the luma of BasicSR's metrics.

    Args:
        image, original: H×W×3, uint8, blue-green-red.

    Returns:
        (H, W), 0 to `STEPS` - 1.
    """
    from basicsr.metrics.metric_util import to_y_channel

    made, expected = (np.asarray(to_y_channel(image), dtype=np.float64)[..., 0] for image in (image, original))
    return np.minimum(np.abs(made - expected) // STEP, STEPS - 1).astype(np.uint8)


def _files(gathered: Gathering, key: ImageKey) -> list[Path | None]:
    return [gathered.originals.get(key), *(entry.images.get(key) for entry in gathered.entries)]


def _details(files: Sequence[Path | None]) -> Details:
    original, *made = [None if file is None else read_image(file) for file in files]
    compared = [image for image in made if image is not None]
    if len(compared) < _FEWEST and original is not None:
        compared.append(original)
    box = differing_crop(compared, CROP)
    height, width = compared[0].shape[:2]
    errors = [None if image is None or original is None else error_map(image, original) for image in made]
    return Details(
        width=width,
        height=height,
        difference=float((luma_range(compared) ** 2).mean()),
        box=box,
        crops=[
            None if image is None else png_bytes(from_bgr(box.of(image)), optimize=True) for image in (original, *made)
        ],
        errors=[None, *(None if error is None else png_bytes(_grey(error), optimize=True, bits=4) for error in errors)],
    )


def _grey(error: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(error, "P")
    image.putpalette([level * 255 // (STEPS - 1) for level in range(STEPS) for _ in range(3)])
    return image


def _webp(file: Path | None, quality: int) -> bytes | None:
    if file is None:
        return None
    buffer, image = io.BytesIO(), from_bgr(read_image(file))
    if quality == _LOSSLESS_QUALITY:
        image.save(buffer, "WEBP", lossless=True, quality=50)  # for lossless files, the compression effort
    else:
        image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
