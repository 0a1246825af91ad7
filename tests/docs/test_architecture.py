"""docs/architecture.md draws the house as it is: its rooms, and which room imports which."""

from __future__ import annotations

import sys

import pages
import pytest

sys.path.insert(0, str(pages.ROOT / "tools"))

import house

PAGE = pages.read("docs/architecture.md")
ROOMS = list(house.rooms(PAGE))
LATE = {
    (house.names(cells[0])[0], name)
    for cells in house.table(PAGE, "Imports that go up")
    for name in house.names(cells[1])
}
ARROWS = set(house.arrows(ROOMS))


def test_every_module_has_a_room_and_every_room_is_there() -> None:
    assert {house.room_of(module, ROOMS) for module in house.modules()} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_above_it_in_the_table(name: str) -> None:
    above = ROOMS[: ROOMS.index(name)]
    up = {(there, late) for here, there, late in ARROWS if here == name and there not in above}
    assert {there for there, late in up if not late} == set()
    assert {(name, there) for there, _ in up} == {pair for pair in LATE if pair[0] == name}


def test_the_column_of_imports_is_what_the_code_has() -> None:
    assert house.with_imports(PAGE) == PAGE  # else: python tools/house.py
