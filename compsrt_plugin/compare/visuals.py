"""What the page shows of each image: itself, its error map, and the region in which the entries differ most."""

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
QUALITIES = (_LOSSLESS_QUALITY, 95, 90)  # of WebP, tried in turn until the page is small enough
BUDGET = 19_000_000  # bytes of all images in the page, as text; the rest of 20 MB is for figures and code
CROP = 80  # pixels of a side
STEPS, STEP = 16, 2  # grey levels of an error map, and the error that each stands for, in grey levels of the image
_FEWEST = 2  # images that can be held against each other


Images = list[bytes | None]
"""Files of the original and of every entry's image, in this order; None where there is no image."""


@dataclass(frozen=True)
class Details:
    """What is stored of one image without loss.

    Attributes:
        width, height: of the image, in pixels.
        difference: by which the entries differ: mean squared range of luma.
        box: the region in which they differ most.
        crops: that region, PNG.
        errors: error maps of the entries, PNG; the original has none.
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
        details: what is stored without loss.
        whole: the whole images, WebP.
        quality: `_LOSSLESS_QUALITY`, or WebP's quality.
    """

    details: Details
    whole: Images
    quality: int

    @property
    def size(self) -> int:
        """Bytes in the page, where they stand as base64."""
        images = [*self.details.crops, *self.details.errors, *self.whole]
        return sum(-(-len(image) // 3) * 4 for image in images if image is not None)


@dataclass(frozen=True)
class Sights:
    """What there is to see.

    Attributes:
        shown: data set and name of an image -> what the page shows of it.
        left_out: images for which there is no room in the page.
        unseen: images of which there are not two to compare.
    """

    shown: Mapping[ImageKey, Sight]
    left_out: list[ImageKey]
    unseen: list[ImageKey]


def sights(gathered: Gathering, budget: int = BUDGET) -> Sights:
    """Prepare the images of the page, within its size.

    Whole images are stored without loss if all fit, else at the best quality at which they do. If even the lowest
    is too large, the images in which the entries differ least are left out. Crops and error maps lose nothing.

    Args:
        gathered: what is compared.
        budget: bytes of all images together, as base64.
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


def error_map(picture: Pixels, original: Pixels) -> NDArray[np.uint8]:
    """Return |Y - Y of the original| in steps of `STEP` grey levels, at most `STEPS` - 1 of them.

    Y is luma as BasicSR's metrics have it.

    Args:
        image, original: H×W×3, uint8, blue-green-red.

    Returns:
        (H, W), 0 to `STEPS` - 1.
    """
    from basicsr.metrics.metric_util import to_y_channel

    made, expected = (np.asarray(to_y_channel(image), dtype=np.float64)[..., 0] for image in (picture, original))
    return np.minimum(np.abs(made - expected) // STEP, STEPS - 1).astype(np.uint8)


def _files(gathered: Gathering, key: ImageKey) -> list[Path | None]:
    return [gathered.originals.get(key), *(entry.pictures.get(key) for entry in gathered.entries)]


def _details(files: Sequence[Path | None]) -> Details:
    original, *made = [None if file is None else read_image(file) for file in files]
    compared = [picture for picture in made if picture is not None]
    if len(compared) < _FEWEST and original is not None:
        compared.append(original)
    box = differing_crop(compared, CROP)
    height, width = compared[0].shape[:2]
    errors = [None if picture is None or original is None else error_map(picture, original) for picture in made]
    return Details(
        width=width,
        height=height,
        difference=float((luma_range(compared) ** 2).mean()),
        box=box,
        crops=[
            None if picture is None else png_bytes(from_bgr(box.of(picture)), optimize=True)
            for picture in (original, *made)
        ],
        errors=[None, *(None if error is None else png_bytes(_grey(error), optimize=True, bits=4) for error in errors)],
    )


def _crop(box: Crop, picture: Pixels | None) -> bytes | None:
    return None if picture is None else png_bytes(from_bgr(box.of(picture)), optimize=True)


def _grey(error: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(error, "P")
    image.putpalette([level * 255 // (STEPS - 1) for level in range(STEPS) for _ in range(3)])
    return image


def _webp(file: Path | None, quality: int) -> bytes | None:
    if file is None:
        return None
    buffer, image = io.BytesIO(), from_bgr(read_image(file))
    if quality == _LOSSLESS_QUALITY:
        image.save(buffer, "WEBP", lossless=True, quality=50)  # of a lossless file: how hard it is compressed
    else:
        image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()
