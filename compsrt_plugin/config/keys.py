"""The keys of one block of an option file: which there are, which must be there, what their values must be.

A block that several readers share has one table for each of them, by the reader's name: of `train:`, say,
`CompSRTTeacherModel` reads keys that `CompSRTModel` does not. A key that only another of them reads is then refused
with the name of the one that does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.config.checks import Check, choice
from compsrt_plugin.errors import CompSRTError, unknown_name


@dataclass(frozen=True)
class Key:
    """One key of a block.

    Attributes:
        check: what its value must be.
        needed: whether an option file without it is refused.
    """

    check: Check
    needed: bool = False


Table = Mapping[str, Key]
Tables = Mapping[str, Table]
"""Reader of a block to the keys that it reads."""
OnUnknown = Callable[[str, CompSRTError], None]
"""(name of a key that the table does not have, the error that says so): raises the error, or does something else."""


def refuse(_name: str, error: CompSRTError) -> None:
    """Raise the error: what an unknown key of ours comes to."""
    raise error


def check_block(where: str, block: Any, tables: Tables, reader: str, on_unknown: OnUnknown = refuse) -> None:
    """Check one block of an option file.

    Args:
        where: its dotted name; "" is the whole file.
        block: what the file holds there.
        tables: the keys of every reader of such a block.
        reader: the one that reads this one.
        on_unknown: what an unknown key comes to.

    Raises:
        CompSRTError: no block, a key that is unknown or missing, or a wrong value; names the key.
    """
    if not isinstance(block, Mapping):
        raise CompSRTError(f"{where} is {block!r}", allowed="a block of keys")
    table, prefix = tables[reader], f"{where}." if where else ""
    for name in block:
        if name not in table:
            on_unknown(name, _unknown(where or "the option file", name, tables, reader))
    for name, key in table.items():
        if name in block:
            key.check(prefix + name, block[name])
        elif key.needed:
            raise CompSRTError(f"the option file has no key '{prefix}{name}'", hint="see the installed option files")


def block_of(table: Table) -> Check:
    """A block with these keys."""

    def check(key: str, value: Any) -> None:
        check_block(key, value, {"": table}, "")

    return check


def block_by_type(tables: Tables) -> Check:
    """A block whose `type` says which other keys it has."""
    kind = Key(choice(lambda: tables), needed=True)

    def check(key: str, value: Any) -> None:
        name = value.get("type") if isinstance(value, Mapping) else None
        if not isinstance(name, str) or name not in tables:
            found = {"type": name} if isinstance(value, Mapping) and "type" in value else value
            check_block(key, found, {"": {"type": kind}}, "", lambda _name, _error: None)
        check_block(key, value, {other: {"type": kind, **table} for other, table in tables.items()}, str(name))

    return check


def _unknown(where: str, name: str, tables: Tables, reader: str) -> CompSRTError:
    others = [other for other, table in tables.items() if other != reader and name in table]
    if others:
        return CompSRTError(f"{where} has the key {name!r}, which only {' and '.join(others)} would read")
    return unknown_name(f"key in {where}:", name, tables[reader])
