"""A rectangle divided in proportion, into pieces as near to squares as can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle: left, top, width, height in pixels, not whole ones."""

    left: float
    top: float
    width: float
    height: float

    def pixels(self) -> tuple[int, int, int, int]:
        """Return the corners (x0, y0, x1, y1); neighbours share theirs."""
        return round(self.left), round(self.top), round(self.left + self.width), round(self.top + self.height)


def treemap(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide `box` into pieces whose areas are as `sizes` (Bruls, Huizing & van Wijk, 2000, "squarified").

    Args:
        sizes: above 0; pieces are squarer the nearer these are to falling order.
        box: what to divide.

    Returns:
        One piece for each size, in their order.
    """
    scale = box.width * box.height / sum(sizes) if sizes else 0.0
    areas = [size * scale for size in sizes]
    placed: list[Box] = []
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
    """Return the largest ratio of sides among areas laid in one strip along `side`."""
    thickness = sum(areas) / side
    return max(max(area / thickness**2, thickness**2 / area) for area in areas)


def _strip(areas: Sequence[float], box: Box) -> tuple[list[Box], Box]:
    """Lay areas side by side along the shorter side; return them and what is left of the box."""
    total = sum(areas)
    placed = []
    if box.width >= box.height:
        thickness, offset = total / box.height, box.top
        for area in areas:
            placed.append(Box(box.left, offset, thickness, area / thickness))
            offset += area / thickness
        return placed, Box(box.left + thickness, box.top, max(box.width - thickness, 1e-9), box.height)
    thickness, offset = total / box.width, box.left
    for area in areas:
        placed.append(Box(offset, box.top, area / thickness, thickness))
        offset += area / thickness
    return placed, Box(box.left, box.top + thickness, box.width, max(box.height - thickness, 1e-9))
