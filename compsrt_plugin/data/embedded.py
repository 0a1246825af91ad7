"""Provide photographs of scikit-image's wheel as HR/LR pairs, for tests and calibration without downloads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import get_args

from compsrt_plugin.config.data_set_blocks import Subset
from compsrt_plugin.data.cache import cached_pairs
from compsrt_plugin.data.images import read_image, write_image
from compsrt_plugin.data.low_resolution import centre_piece
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.files import cache_root

EMBEDDED_IMAGES = {
    "demo": ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"),
    "calibration": (
        "motorcycle_left.png",
        "retina.jpg",
        "hubble_deep_field.jpg",
        "ihc.png",
        "brick.png",
        "grass.png",
        "gravel.png",
    ),
}

# The demo images are used whole. The two large calibration images are cut to their centre. This leaves out the
# black surround of the retina, which would make every third random patch empty, and bounds the validation time on a
# CPU. The other five are smaller.
CALIBRATION_SIDE = 768
MAX_SIDE = {"demo": None, "calibration": CALIBRATION_SIDE}


# A tenth of seven images is one image, a grey texture. The right part of each coloured image is held out instead.
DIVIDED = ("motorcycle_left.png", "retina.jpg", "hubble_deep_field.jpg", "ihc.png")
HELD_OUT_WIDTH = 240  # HR pixels; a multiple of 2, 3 and 4
SUBSETS: tuple[str, ...] = get_args(Subset)


def embedded_pairs(which: str, scale: int, subset: str | None = None) -> tuple[Path, Path]:
    """Return cached HR/LR pairs of embedded photographs. They are made once, and nothing is downloaded.

    Args:
        which: 'demo' (astronaut, chelsea, coffee, rocket) or 'calibration' (seven other images).
        scale: shrinking factor. HR sides are cut to multiples of it.
        subset: for 'calibration', 'holdout' is the right part of each coloured image and 'train' is the rest. None
            takes whole images.

    Returns:
        (HR folder, LR folder) with NAME.png and NAMEx{scale}.png, 8-bit colour.

    Raises:
        CompSRTError: the set or subset is unknown, or scikit-image is not installed or lacks an image.
    """
    if which not in EMBEDDED_IMAGES:
        raise unknown_name("embedded set", which, EMBEDDED_IMAGES)
    folder = _scikit_image() / "data"
    sources = [folder / name for name in EMBEDDED_IMAGES[which]]
    for source in sources:
        if not source.is_file():
            raise CompSRTError(
                f"the embedded image {source} is missing",
                hint="pip install --force-reinstall 'scikit-image>=0.19'",
            )
    if subset is None or which != "calibration":
        return cached_pairs(which, sources, scale, max_side=MAX_SIDE[which])
    if subset not in SUBSETS:
        raise unknown_name("subset:", subset, SUBSETS)
    if subset == "holdout":
        sources = [source for source in sources if source.name in DIVIDED]
    return cached_pairs(f"{which}_{subset}", [_part(source, subset) for source in sources], scale)


def _part(source: Path, subset: str) -> Path:
    """Return the cached part of a calibration image that belongs to a subset."""
    path = cache_root() / f"embedded-{HELD_OUT_WIDTH}" / subset / f"{source.stem}.png"
    if not path.is_file():
        image = centre_piece(read_image(source), CALIBRATION_SIDE)
        if source.name in DIVIDED:
            image = image[:, -HELD_OUT_WIDTH:] if subset == "holdout" else image[:, :-HELD_OUT_WIDTH]
        write_image(path, image)
    return path


def _scikit_image() -> Path:
    """Return scikit-image's folder without importing it, because its loader downloads missing files."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise CompSRTError("scikit-image is not installed", hint="pip install 'scikit-image>=0.19'")
    return Path(next(iter(spec.submodule_search_locations)))
