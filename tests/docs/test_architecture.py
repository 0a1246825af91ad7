"""docs/architecture.md draws the house as it is: its rooms, and which room imports which."""

from __future__ import annotations

import sys

import pages
import pytest

sys.path.insert(0, str(pages.ROOT / "tools"))

import house

PAGE = pages.read("docs/architecture.md")
ROOMS = list(house.rooms(PAGE))
ARROWS = set(house.arrows(ROOMS))


def test_every_module_has_a_room_and_every_room_is_there() -> None:
    assert {house.room_of(module, ROOMS) for module in house.modules()} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_above_it_in_the_table(name: str) -> None:
    above = ROOMS[: ROOMS.index(name)]
    assert {there for here, there, _ in ARROWS if here == name and there not in above} == set()


def test_the_column_of_imports_is_what_the_code_has() -> None:
    assert house.with_imports(PAGE) == PAGE  # else: python tools/house.py
