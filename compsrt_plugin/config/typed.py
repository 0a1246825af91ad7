"""Typed blocks of options: check a plain value against a type once, and return the typed value.

A type is what msgspec takes: `int`, `Annotated[float, Meta(ge=0, lt=1)]`, `Literal[...]`, a union, a list, a mapping,
or a `Block` class. msgspec describes the types and makes their JSON schema. The checks stand here, since an error of
msgspec names neither the value that was found, nor the key of a mapping, nor the nearest allowed name.

`Meta(extra={...})` adds what a type cannot say:

    names      function that returns the allowed names at the time of the check, since registries grow
    own        True where a user's code may add to these names
    check      function (dotted key, value) that raises a CompSRTError
    allowed    what is allowed, in words; otherwise the words follow from the type
    keys       of a field that is a dictionary: function that returns the keys which registries add to the block. An
               option file has them beside the other keys, and the field holds those that it gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

import msgspec
import msgspec.inspect as kinds
from msgspec import UNSET, field

from compsrt_plugin.errors import CompSRTError, unknown_class, unknown_name

B = TypeVar("B", bound="Block")
OnUnknown = Callable[[str, CompSRTError], None]
"""Called with the name of an unknown key and the error about it. It raises the error, or does something else."""
Variants = Mapping[str, "type[Block]"]
"""Reader of a block to the type that has the keys it reads."""


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the typed blocks: a block that exists holds allowed values only."""

    where: ClassVar[str] = ""  # dotted name of the block in the option file
    parts: ClassVar[tuple[type[Block], ...]] = ()  # the blocks that this one was `merged` of

    def __post_init__(self) -> None:
        kind = _description(type(self))
        values = {entry.encode_name: getattr(self, entry.name) for entry in kind.fields}
        added = _added(kind)
        if added is not None:
            values |= values.pop(added.encode_name)
        for name, entry in _entries(kind).items():
            if values.get(name, UNSET) is not UNSET:
                _value(entry.type, f"{self.where}.{name}", values[name])

    @classmethod
    def from_dict(cls: type[B], values: Any) -> B:
        """Return the block for a plain mapping; null and `{}` mean all defaults.

        Raises:
            CompSRTError: not a mapping, an unknown or missing key, or a wrong value; names the key.
        """
        return parse(cls.where, {} if values is None else values, {"": cls}, "")


def merged(name: str, about: str, *parts: type[Block]) -> type[Block]:
    """Return a block with the keys of several; of two keys of one name the earlier block's counts.

    Structs cannot have two bases with fields.
    """
    entries: dict[str, Any] = {}
    for part in parts:
        for entry in msgspec.structs.fields(part):
            default = () if entry.required else (field(default_factory=entry.default_factory),)
            if entry.default is not msgspec.NODEFAULT:
                default = (entry.default,)
            entries.setdefault(entry.name, (entry.name, entry.type, *default))
    block = msgspec.defstruct(
        name,
        list(entries.values()),
        bases=(Block,),
        namespace={"__doc__": about, "parts": parts},
        kw_only=True,
        frozen=True,
    )
    return cast("type[Block]", block)


def refuse(_name: str, error: CompSRTError) -> None:
    """Raise the error."""
    raise error


def parse(where: str, values: Any, variants: Variants, reader: str, on_unknown: OnUnknown = refuse) -> Any:
    """Return the typed block for what an option file holds.

    Args:
        where: dotted name of the block; "" is the whole file.
        values: what the file holds there.
        variants: the type of such a block for every reader; an error names the reader that would know a key.
        reader: who reads this block.
        on_unknown: what happens to an unknown key, which the result lacks.

    Raises:
        CompSRTError: not a mapping, an unknown or missing key, or a wrong value; names the key.
    """
    return _block(where, values, reader, {name: _description(block) for name, block in variants.items()}, on_unknown)


def parse_value(kind: Any, key: str, value: Any) -> Any:
    """Return a single typed value.

    Args:
        kind: its type, such as `PositiveShare | None`.
        key: its dotted name.
        value: what was found.

    Raises:
        CompSRTError: a wrong value; names the key.
    """
    return _value(kinds.type_info(kind), key, value)


def missing_key(key: str) -> CompSRTError:
    """Return the error for a key that an option file lacks."""
    return CompSRTError(f"the option file has no key '{key}'", hint="see the installed option files")


def fields_of(block: type[Block]) -> dict[str, kinds.Field]:
    """Return the keys of a block, as msgspec describes them, those that registries add among them."""
    return _entries(_description(block))


def _added(kind: kinds.StructType) -> kinds.Field | None:
    """Return the field of a block that holds the keys which registries add; None without one."""
    return next((entry for entry in kind.fields if "keys" in unwrapped(entry.type)[1]), None)


def _entries(kind: kinds.StructType) -> dict[str, kinds.Field]:
    added = _added(kind)
    found: dict[str, kinds.Field] = {}
    for entry in kind.fields:
        found |= {entry.encode_name: entry} if entry is not added else unwrapped(entry.type)[1]["keys"]()
    return found


def unwrapped(kind: kinds.Type) -> tuple[kinds.Type, dict[str, Any]]:
    """Return a type without its metadata, and the `extra` of the metadata."""
    extra: dict[str, Any] = {}
    while isinstance(kind, kinds.Metadata):
        kind, extra = kind.type, {**(kind.extra or {}), **extra}
    return kind, extra


def in_words(kind: kinds.Type) -> str:
    """Return what a type allows, for messages and for the reference of the options."""
    kind, extra = unwrapped(kind)
    if "names" in extra:
        return ", ".join(sorted(extra["names"]()))
    if "allowed" in extra:
        return extra["allowed"]
    if isinstance(kind, kinds.UnionType):
        parts = sorted(kind.types, key=lambda part: isinstance(part, kinds.NoneType))  # null comes last
        return ", or ".join(dict.fromkeys(in_words(part) for part in parts))
    if isinstance(kind, kinds.LiteralType):
        return ", ".join(sorted(str(value) for value in kind.values))
    if isinstance(kind, kinds.ListType):
        return f"a list of {kind.max_length} values" if kind.max_length else "a list of one value or more"
    return _range(kind) if isinstance(kind, (kinds.IntType, kinds.FloatType)) else _WORDS[type(kind)]


_WORDS: dict[type[kinds.Type], str] = {
    kinds.AnyType: "any value",
    kinds.BoolType: "true or false",
    kinds.DictType: "a mapping",
    kinds.NoneType: "null",
    kinds.StrType: "text",
    kinds.StructType: "a block of keys",
}


def _range(kind: kinds.IntType | kinds.FloatType) -> str:
    if isinstance(kind, kinds.IntType) and kind.le is not None:
        return f"{kind.ge} to {kind.le}"
    words = "integers" if isinstance(kind, kinds.IntType) or kind.multiple_of == 1 else "numbers"
    words += "" if kind.gt is None else f" above {kind.gt:g}"
    words += "" if kind.ge is None else f" from {kind.ge:g}"
    words += "" if kind.lt is None else f" to below {kind.lt:g}"
    return words


@cache
def _description(block: type[Block]) -> kinds.StructType:
    description = kinds.type_info(block)
    assert isinstance(description, kinds.StructType)
    return description


def _block(
    key: str, values: Any, reader: str, variants: Mapping[str, kinds.StructType], on_unknown: OnUnknown = refuse
) -> Any:
    kind = variants[reader]
    if not isinstance(values, Mapping):
        raise CompSRTError(f"{key} is {values!r}", allowed=in_words(kind))
    known, prefix = _keys(kind), f"{key}." if key else ""
    for name in values:
        if name in known:
            continue
        others = [other for other, variant in variants.items() if name in _keys(variant)]
        if others:
            only = f"{key or 'the option file'} has the key {name!r}, which only {' and '.join(others)} would read"
            on_unknown(name, CompSRTError(only))
        else:
            on_unknown(name, unknown_name(f"key in {key or 'the option file'}:", name, known))
    built = {}
    for name, entry in _entries(kind).items():
        value = values.get(name)
        if name not in values:
            if entry.required:
                raise missing_key(prefix + name)
        elif value is not None or entry.default_factory is not getattr(unwrapped(entry.type)[0], "cls", None):
            built[entry.name] = _value(entry.type, prefix + name, value)
    added = _added(kind)
    if added is not None:
        own = {entry.name for entry in kind.fields}
        built[added.name] = {name: built.pop(name) for name in list(built) if name not in own}
    return kind.cls(**built)


def _keys(kind: kinds.StructType) -> set[str]:
    return _entries(kind).keys() | ({kind.tag_field} if kind.tag_field else set())


def _value(kind: kinds.Type, key: str, value: Any, allowed: str | None = None) -> Any:
    """Return the typed value.

    Args:
        kind: its type.
        key: dotted name.
        value: as it was found.
        allowed: what is allowed, if this type is one of several.
    """
    whole, (kind, extra) = kind, unwrapped(kind)

    def wrong() -> CompSRTError:
        return CompSRTError(f"{key} is {value!r}", allowed=allowed or in_words(whole))

    if isinstance(value, Block) or isinstance(kind, kinds.AnyType):
        return value
    if isinstance(kind, kinds.UnionType):
        return _one_of(kind, key, value)
    if isinstance(kind, kinds.StructType):
        return _block(key, value, "", {"": kind}) if kind.tag is None else _by_type(key, value, {str(kind.tag): kind})
    if isinstance(kind, kinds.DictType):
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise wrong()
        return {name: _value(kind.value_type, f"{key}[{name!r}]", part) for name, part in value.items()}
    if isinstance(kind, kinds.ListType):
        least, most = kind.min_length or 0, math.inf if kind.max_length is None else kind.max_length
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise wrong()
        return [_value(kind.item_type, f"{key}[{place}]", part) for place, part in enumerate(value)]
    if "names" in extra or isinstance(kind, kinds.LiteralType):
        names = [str(name) for name in (kind.values if isinstance(kind, kinds.LiteralType) else extra["names"]())]
        if not isinstance(value, str) or value not in names:
            unknown = unknown_class if extra.get("own") else unknown_name
            raise unknown(f"{key}:", value, names)
    elif not _fits(kind, value):
        raise wrong()
    if "check" in extra:
        extra["check"](key, value)
    return value


def _one_of(union: kinds.UnionType, key: str, value: Any) -> Any:
    """Return the typed value of a union: null, a word, or the one other type; of several blocks `type` tells which."""
    parts = [unwrapped(part)[0] for part in union.types]
    words = {word for part in parts if isinstance(part, kinds.LiteralType) for word in part.values}
    nullable = any(isinstance(part, kinds.NoneType) for part in parts)
    if (value is None and nullable) or (isinstance(value, str) and value in words):
        return value
    others = [
        whole for whole, part in zip(union.types, parts) if not isinstance(part, (kinds.NoneType, kinds.LiteralType))
    ]
    by_type = {str(part.tag): part for part in parts if isinstance(part, kinds.StructType) and part.tag is not None}
    if by_type:
        return _by_type(key, value, by_type)
    return _value(others[0] if others else kinds.LiteralType(tuple(words)), key, value, in_words(union))


def _by_type(key: str, value: Any, variants: Mapping[str, kinds.StructType]) -> Any:
    """Return the block whose `type` says which of several it is."""
    if not isinstance(value, Mapping):
        raise CompSRTError(f"{key} is {value!r}", allowed=_WORDS[kinds.StructType])
    if "type" not in value:
        raise missing_key(f"{key}.type")
    if not isinstance(value["type"], str) or value["type"] not in variants:
        raise unknown_name(f"{key}.type:", value["type"], variants)
    return _block(key, value, value["type"], variants)


def _fits(kind: kinds.Type, value: Any) -> bool:
    if isinstance(kind, kinds.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, kinds.StrType):
        return isinstance(value, str) and bool(value.strip())
    if not isinstance(kind, (kinds.IntType, kinds.FloatType)):
        return value is None
    number = isinstance(value, int) or (isinstance(kind, kinds.FloatType) and isinstance(value, float))
    if not number or isinstance(value, bool) or not math.isfinite(value):
        return False
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
        and (kind.multiple_of is None or value % kind.multiple_of == 0)
    )
