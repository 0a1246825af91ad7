"""Draw where the bytes go: the float file and the packed file to scale, and a treemap of the packed file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageDraw

from compsrt_plugin.analysis.sizes.account import _FLOAT_BYTES, Account
from compsrt_plugin.report.drawing import FAINT, INK, PAPER, draw_line, font, line_height
from compsrt_plugin.report.results_table import format_bytes

WIDTH, MARGIN = 1280, 40
BAR, MAP = 56, 520  # heights in pixels
GREY = "#d5d6da"
GROUP_COLOURS = {
    "linear layers": ("#1f5f8b", "#ffffff"),
    "convolutions": ("#c8692c", "#ffffff"),
    "position tables": ("#4f8a5b", "#ffffff"),
    "the rest": ("#8d6a9f", "#ffffff"),
}
PALE = {"linear layers": "#bccfdc", "convolutions": "#ecd2be"}
POSITION = "position tables"


@dataclass(frozen=True)
class Piece:
    """A part of the file: its group (a key of `GROUP_COLOURS`), its name, its bytes."""

    group: str
    name: str
    bytes: int


def pieces(account: Account) -> list[Piece]:
    """Return the parts of the file, which add up to it. Linear layers are summed by their role in a block."""
    roles = Counter(layer.name.rpartition(".")[2] for layer in account.layers if layer.kind == "linear")
    found: Counter[tuple[str, str]] = Counter()
    for layer in account.layers:
        role = layer.name.rpartition(".")[2]
        if layer.kind == "linear":
            found["linear layers", f"{role} of {roles[role]} blocks" if roles[role] > 1 else role] += layer.sizes.bytes
        else:
            found["convolutions", layer.name] += layer.sizes.bytes
    for name, size in account.others.items():
        found[POSITION if name == POSITION else "the rest", name] += size
    return [Piece(group, name, size) for (group, name), size in found.items() if size]


def draw_size_map(account: Account, title: str) -> Image.Image:
    """Return a chart: the float file and the packed file as bars to one scale, and a treemap of the packed file.

    Args:
        account: of a packed file.
        title: heading, such as the name and code width of the file.
    """
    content = pieces(account)
    top = MARGIN
    height = MARGIN + line_height(30) + 2 * (line_height(18) + BAR + 14) + 70 + MAP + 20 + line_height(18) + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    inner = WIDTH - 2 * MARGIN
    draw_line(pen, (MARGIN, top), title, 30, INK, inner)
    top += line_height(30) + 8
    draw_line(pen, (MARGIN, top), f"in 32 bits   {format_bytes(account.float_bytes)}", 18, FAINT, inner)
    top += line_height(18)
    _draw_float_bar(pen, account, Rectangle(MARGIN, top, inner, BAR))
    top += BAR + 14
    ratio = account.float_bytes / account.bytes
    text = f"packed   {format_bytes(account.bytes)}, {ratio:.1f} times smaller"
    draw_line(pen, (MARGIN, top), text, 18, INK, inner)
    top += line_height(18)
    end = MARGIN + max(1, round(inner / ratio))
    left = float(MARGIN)
    for group in GROUP_COLOURS:
        width = sum(p.bytes for p in content if p.group == group) / account.bytes * (end - MARGIN)
        pen.rectangle((round(left), top, round(left + width), top + BAR), GROUP_COLOURS[group][0])
        left += width
    top += BAR
    pen.polygon([(MARGIN, top), (end, top), (WIDTH - MARGIN, top + 70), (MARGIN, top + 70)], "#efeeea")
    top += 70
    _draw_map(pen, content, Rectangle(MARGIN, top, inner, MAP))
    top += MAP + 20
    _draw_legend(pen, content, account.bytes, top)
    return sheet


def _draw_float_bar(pen: ImageDraw.ImageDraw, account: Account, box: Rectangle) -> None:
    """Draw the float file: its linear and convolution weights in paler colours, the rest grey."""
    pen.rectangle(box.pixels(), GREY)
    left = box.left
    for group, kind in (("linear layers", "linear"), ("convolutions", "convolution")):
        size = _FLOAT_BYTES * account.of_kind(kind).weights
        width = size / account.float_bytes * box.width
        pen.rectangle((round(left), box.top, round(left + width), box.top + box.height), PALE[group])
        _label(pen, Piece(group, group, size), (round(left) + 10, int(box.top) + 6), round(width) - 18, BAR, INK)
        left += width


def _draw_map(pen: ImageDraw.ImageDraw, content: Sequence[Piece], box: Rectangle) -> None:
    groups = [group for group in GROUP_COLOURS if any(piece.group == group for piece in content)]
    areas = treemap([sum(p.bytes for p in content if p.group == group) for group in groups], box)
    for group, area in zip(groups, areas):
        members = sorted((p for p in content if p.group == group), key=lambda p: -p.bytes)
        fill, ink = GROUP_COLOURS[group]
        for piece, place in zip(members, treemap([p.bytes for p in members], area)):
            x0, y0, x1, y1 = place.pixels()
            if x1 - x0 < 3 or y1 - y0 < 3:
                pen.rectangle((x0, y0, x1, y1), fill)
                continue
            pen.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), fill)
            _label(pen, piece, (x0 + 10, y0 + 8), x1 - x0 - 18, y1 - y0 - 12, ink)


def _label(pen: ImageDraw.ImageDraw, piece: Piece, place: tuple[int, int], width: int, height: int, ink: str) -> None:
    size = format_bytes(piece.bytes)
    if width < font(15).getlength(size) or height < line_height(15):
        return
    if font(15).getlength(piece.name) <= width and height >= 2 * line_height(19):
        draw_line(pen, place, piece.name, 19, ink, width)
        place = (place[0], place[1] + line_height(19))
    draw_line(pen, place, size, 15, ink, width)


def _draw_legend(pen: ImageDraw.ImageDraw, content: Sequence[Piece], total: int, top: int) -> None:
    left = MARGIN
    for group, (fill, _) in GROUP_COLOURS.items():
        size = sum(piece.bytes for piece in content if piece.group == group)
        if not size:
            continue
        text = f"{group}   {format_bytes(size)}, {size / total:.0%}"
        pen.rectangle((left, top + 3, left + 16, top + 19), fill)
        draw_line(pen, (left + 24, top), text, 18, INK, WIDTH)
        left += 24 + round(font(18).getlength(text)) + 36


class Rectangle(NamedTuple):
    """A rectangle: left, top, width, height in fractional pixels."""

    left: float
    top: float
    width: float
    height: float

    def pixels(self) -> tuple[int, int, int, int]:
        """Return the rounded corners (x0, y0, x1, y1). Neighbours share them."""
        return round(self.left), round(self.top), round(self.left + self.width), round(self.top + self.height)


def treemap(sizes: Sequence[float], box: Rectangle) -> list[Rectangle]:
    """Return rectangles that divide `box` in proportion to `sizes` (squarified: Bruls, Huizing & van Wijk, 2000).

    Args:
        sizes: above 0. In falling order they give the squarest pieces.
        box: the rectangle to divide.

    Returns:
        One rectangle per size, in their order.
    """
    scale = box.width * box.height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    placed: list[Rectangle] = []
    while areas:
        side = min(box.width, box.height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        strip, box = _strip(areas[:count], box)
        placed += strip
        areas = areas[count:]
    return placed


def _worst(areas: Sequence[float], side: float) -> float:
    """Return the largest aspect ratio of areas in one strip along `side`."""
    thickness = sum(areas) / side
    return max(max(area / thickness**2, thickness**2 / area) for area in areas)


def _strip(areas: Sequence[float], box: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Place areas in a strip along the shorter side. Return them and the rest of the box."""
    total = sum(areas)
    placed = []
    if box.width >= box.height:
        thickness, offset = total / box.height, box.top
        for area in areas:
            placed.append(Rectangle(box.left, offset, thickness, area / thickness))
            offset += area / thickness
        return placed, Rectangle(box.left + thickness, box.top, max(box.width - thickness, 1e-9), box.height)
    thickness, offset = total / box.width, box.left
    for area in areas:
        placed.append(Rectangle(offset, box.top, area / thickness, thickness))
        offset += area / thickness
    return placed, Rectangle(box.left, box.top + thickness, box.width, max(box.height - thickness, 1e-9))
