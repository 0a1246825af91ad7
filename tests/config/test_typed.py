"""A plain value becomes a typed one, or an error names the key, the value, and what is allowed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, UnsetType, field

from compsrt_plugin.config.typed import Block, fields_of, in_words, merged, parse, parse_value
from compsrt_plugin.config.values import Bits, CountFromOne, FilePath, FolderName, PositiveShare, Text, names
from compsrt_plugin.errors import CompSRTError

Color = Annotated[str, names(lambda: ("red", "green"))]
OwnColor = Annotated[str, names(lambda: ("red", "green"), own=True)]
Three = Annotated[list[Bits], Meta(min_length=3, max_length=3)]


class Circle(Block, frozen=True, kw_only=True, tag="circle", tag_field="type"):
    """A circle."""

    radius: float


class Square(Block, frozen=True, kw_only=True, tag="square", tag_field="type"):
    """A square."""

    side: float


class Frame(Block, frozen=True, kw_only=True):
    """A frame with defaults."""

    width: Bits = 2


class Painting(Block, frozen=True, kw_only=True):
    """A painting."""

    where = "painting"

    title: Text
    frame: Frame = field(default_factory=Frame)
    glass: Frame | None = None
    shape: Circle | Square | UnsetType = UNSET


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [
        (Bits | None, None, None),
        (Bits | Literal["recipe"], "recipe", "recipe"),
        (CountFromOne, 5e3, 5000),
        (Three, (2, 3, 4), [2, 3, 4]),
        (Color, "red", "red"),
        (dict[str, Frame | None], {"a": None, "b": {}}, {"a": None, "b": Frame()}),
        (Circle | Square, {"type": "square", "side": 2}, Square(side=2)),
        (PositiveShare, 0.5, 0.5),
    ],
)
def test_a_value_that_is_allowed_comes_back_typed(kind: Any, value: Any, typed: Any) -> None:
    assert parse_value(kind, "key", value) == typed


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (Bits, True, "key is True; allowed: 2 to 8"),
        (Bits, 3.0, "key is 3.0; allowed: 2 to 8"),
        (Bits | Literal["recipe"] | None, 9, "key is 9; allowed: 2 to 8, or recipe, or null"),
        (CountFromOne, 1.5, "key is 1.5; allowed: integers from 1"),
        (PositiveShare, float("nan"), "key is nan; allowed: numbers above 0 to below 1"),
        (float, float("inf"), "key is inf; allowed: numbers"),
        (Three, [2, 3], r"key is \[2, 3\]; allowed: a list of 3 values"),
        (Three, [2, 3, 9], r"key\[2\] is 9; allowed: 2 to 8"),
        (Text, " ", "key is ' '; allowed: text"),
        (Color, "gren", "unknown key: 'gren'; allowed: green, red; did you mean 'green'"),
        (OwnColor, "mauve", "name its file: --code FILE.py"),
        (Literal["a", "b"] | None, "c", "unknown key: 'c'; allowed: a, b"),
        (dict[str, Frame], {"*.fc": {"width": 9}}, r"key\['\*\.fc'\]\.width is 9"),
        (dict[str, Frame], [1], r"key is \[1\]; allowed: a mapping"),
        (Circle | Square, {"type": "cube"}, r"unknown key\.type: 'cube'; allowed: circle, square"),
        (Circle | Square, {"side": 2}, r"has no key 'key\.type'"),
        (Circle | Square, 3, "key is 3; allowed: a block of keys"),
        (
            Circle | Square,
            {"type": "square", "side": 1, "radius": 2},
            "key has the key 'radius', which only circle would read",
        ),
        (FolderName, "a/b", "key is 'a/b'; allowed: a plain name"),
        (FilePath, "", "key is ''; allowed: text"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(kind: Any, value: Any, says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        parse_value(kind, "key", value)


def test_null_stands_for_a_block_of_defaults_where_a_block_is_needed() -> None:
    block = Painting.from_dict({"title": "a", "frame": None, "glass": None})
    assert (block.frame, block.glass, block.shape) == (Frame(), None, UNSET)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(CompSRTError, match=r"has no key 'painting\.title'"):
        Painting.from_dict(None)


def test_a_block_that_is_built_is_checked_too() -> None:
    with pytest.raises(CompSRTError, match=r"painting\.title is 3"):
        Painting(title=3)  # pyright: ignore[reportArgumentType]


def test_an_unknown_key_may_be_passed_over() -> None:
    passed: list[str] = []
    block = parse("x", {"width": 3, "depth": 1}, {"": Frame}, "", lambda name, error: passed.append(f"{name}: {error}"))
    assert block == Frame(width=3)
    assert passed == ["depth: unknown key in x: 'depth'; allowed: width; did you mean 'width'?"]


def test_a_merged_block_has_the_keys_of_its_parts() -> None:
    block = merged("Both", "Both.", Frame, Painting)
    assert list(fields_of(block)) == ["width", "title", "frame", "glass", "shape"]
    assert block.from_dict({"title": "a"}).width == 2  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(CompSRTError, match=r"'titel'.*did you mean 'title'"):
        block.from_dict({"titel": "a"})


def test_what_is_allowed_is_said_in_words() -> None:
    told = {name: in_words(entry.type) for name, entry in fields_of(Painting).items()}
    assert told == {
        "title": "text",
        "frame": "a block of keys",
        "glass": "a block of keys, or null",
        "shape": "a block of keys",
    }
