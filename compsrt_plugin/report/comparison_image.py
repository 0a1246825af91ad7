"""Draw a comparison: the whole image, and one detail as every method makes it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from compsrt_plugin.files import write_whole
from compsrt_plugin.report.crop import Crop, Pixels, choose_crop
from compsrt_plugin.report.drawing import FAINT, INK, PAPER, draw_line, from_bgr, line_height, png_bytes

MAX_WIDTH = 1800
"""Largest width of a comparison, in pixels."""

_PANEL = 320
_MARGIN, _GAP, _ROW_GAP = 40, 20, 28
_TITLE, _NAME, _DETAIL = 32, 23, 19
_MARK = "#FFD60A"


@dataclass(frozen=True)
class CaptionedImage:
    """The image of one method, and its caption.

    Attributes:
        name: first line of the caption.
        image: H×W×3, uint8, blue-green-red like OpenCV.
        detail: second, smaller line of the caption: PSNR, file size.
    """

    name: str
    image: Pixels
    detail: str = ""


def draw_comparison(panels: Sequence[CaptionedImage], crop: Crop | None = None, title: str = "") -> Image.Image:
    """Return the drawn comparison of two to six images.

    The last image (by convention the original) is shown whole at the left, with the crop marked. The crops of all
    images are shown at the right with captions, enlarged to about 320 pixels: up to three in one row, more in two rows.
    A small crop is enlarged by an integer factor without smoothing, which shows the pixels as they are.

    Args:
        panels: images of one size, in reading order, the original last.
        crop: the region to enlarge. None uses `choose_crop` between the last image and the first.
        title: the heading; none if empty.

    Returns:
        An RGB image, at most `MAX_WIDTH` wide.

    Raises:
        ValueError: the number of images is not 2 to 6, they are not uint8 H×W×3 of one size, or the crop reaches beyond
            them.
    """
    _check(panels, crop)
    whole = panels[-1].image
    crop = crop or choose_crop(whole, panels[0].image)
    zoomed = [_zoom(crop.of(panel.image)) for panel in panels]
    cell_width, cell_height = zoomed[0].size
    rows = 1 if len(panels) <= 3 else 2
    columns = math.ceil(len(panels) / rows)
    caption = 10 + line_height(_NAME) + line_height(_DETAIL)
    grid_width = columns * cell_width + (columns - 1) * _GAP
    grid_height = rows * (cell_height + caption) + (rows - 1) * _ROW_GAP

    room = MAX_WIDTH - 2 * _MARGIN - _GAP - grid_width
    overview, factor = _fit(whole, room, grid_height - caption)
    top = _MARGIN + (line_height(_TITLE) + 18 if title else 0)
    grid_left = _MARGIN + overview.width + _GAP
    body = max(grid_height, overview.height + caption)
    size = (grid_left + grid_width + _MARGIN, top + body + _MARGIN - 12)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw_line(draw, (_MARGIN, _MARGIN - 8), title, _TITLE, INK, size[0] - 2 * _MARGIN)

    sheet.paste(overview, (_MARGIN, top))
    _mark(draw, crop, factor, (_MARGIN, top))
    note = CaptionedImage(panels[-1].name, whole, f"{whole.shape[1]} x {whole.shape[0]} px, detail framed")
    _caption(draw, note, (_MARGIN, top + overview.height), overview.width)
    for index, (panel, image) in enumerate(zip(panels, zoomed)):
        row, column = divmod(index, columns)
        left = grid_left + column * (cell_width + _GAP)
        upper = top + row * (cell_height + caption + _ROW_GAP)
        sheet.paste(image, (left, upper))
        _caption(draw, panel, (left, upper + cell_height), cell_width)
    return sheet


def save_comparison(
    path: str | os.PathLike[str], panels: Sequence[CaptionedImage], crop: Crop | None = None, title: str = ""
) -> None:
    """Write `draw_comparison(panels, crop, title)` as a PNG file.

    Raises:
        CompSRTError: the file cannot be written.
        ValueError: as `draw_comparison`.
    """
    write_whole(path, png_bytes(draw_comparison(panels, crop, title)))


def _check(panels: Sequence[CaptionedImage], crop: Crop | None) -> None:
    if not 2 <= len(panels) <= 6:
        raise ValueError(f"{len(panels)} panels; a comparison has 2 to 6")
    first = panels[0].image.shape
    for panel in panels:
        dtype, shape = panel.image.dtype, panel.image.shape
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"panel {panel.name!r} is {dtype} {shape}, not uint8 (height, width, 3)")
        if shape != first:
            raise ValueError(f"panel {panel.name!r} is {shape}, the first one {first}")
    height, width = first[:2]
    if crop and not (
        0 <= crop.left < crop.left + crop.width <= width and 0 <= crop.top < crop.top + crop.height <= height
    ):
        raise ValueError(f"{crop} reaches beyond an image {width} wide and {height} high")


def _zoom(image: Pixels) -> Image.Image:
    """Return a crop enlarged so that its longer side is about `_PANEL`."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest > _PANEL:
        return _fit(image, _PANEL, _PANEL)[0]
    factor = round(_PANEL / longest)
    return from_bgr(image).resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _fit(image: Pixels, width: int, height: int) -> tuple[Image.Image, float]:
    """Return an image scaled into a rectangle, with its proportions kept, and the factor."""
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return from_bgr(image).resize(size, Image.Resampling.LANCZOS), factor


def _mark(draw: ImageDraw.ImageDraw, crop: Crop, factor: float, origin: tuple[int, int]) -> None:
    """Frame the crop in the overview, just outside its pixels: bright between dark, visible on any background."""
    left, top = origin[0] + crop.left * factor, origin[1] + crop.top * factor
    right, bottom = left + crop.width * factor, top + crop.height * factor
    for outset, width, colour in ((6, 6, INK), (5, 4, _MARK)):
        draw.rectangle((left - outset, top - outset, right + outset, bottom + outset), None, colour, width)


def _caption(draw: ImageDraw.ImageDraw, panel: CaptionedImage, place: tuple[int, int], width: int) -> None:
    left, top = place[0], place[1] + 10
    draw_line(draw, (left, top), panel.name, _NAME, INK, width)
    draw_line(draw, (left, top + line_height(_NAME)), panel.detail, _DETAIL, FAINT, width)
