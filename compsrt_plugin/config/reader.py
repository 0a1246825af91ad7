"""Read YAML as data: no code can run, and no key can hide another of the same name."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from compsrt_plugin.errors import CompSRTError

MOST_VALUES = 100_000  # in one document, with aliases expanded


class OptionLoader(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys and keys that are not text, and reads `1e-4` as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dict in the order of the file; raise a ConstructorError at a bad or repeated key."""
        seen: set[str] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text: quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice in one block", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# PyYAML reads YAML 1.1, in which 1e-4 is text; a user means the number
OptionLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def read_yaml(text: str, where: str) -> Any:
    """Parse one YAML document into plain values.

    Args:
        text: the document.
        where: its name in errors (a file, a flag).

    Raises:
        CompSRTError: broken YAML, a tag other than those of plain values, or a duplicate key; gives line and column
            if they are known.
    """
    try:
        value = yaml.load(text, Loader=OptionLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}, line {mark.line + 1}, column {mark.column + 1}" if mark else where
        problem = error.problem or error.context or "broken YAML"
        tag = re.search(r"constructor for the tag '(?:tag:yaml.org,2002:)?([^']*)'", problem)
        if tag:
            raise CompSRTError(
                f"{place}: the tag {tag[1]!r} is not allowed, since it could run code",
                allowed="plain values (numbers, text, true/false, lists, mappings)",
            ) from error
        raise CompSRTError(f"{place}: {problem}", hint="correct the YAML there") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CompSRTError(f"{where}: not YAML ({type(error).__name__}: {error})") from error
    _refuse_explosion(value, where)
    return value


def _refuse_explosion(value: Any, where: str) -> None:
    """Refuse nested aliases: a few lines that would fill the memory once expanded."""
    seen, waiting = 0, [value]
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise CompSRTError(f"{where}: its aliases expand to too many values", allowed=f"up to {MOST_VALUES:,}")
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def read_option_file(path: Path) -> dict[str, Any]:
    """Read an option file into plain nested dicts, in the order of the file.

    Raises:
        CompSRTError: the file is unreadable, empty, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CompSRTError(f"cannot read the option file {path}: {reason}") from error
    options = read_yaml(text, str(path))
    if not isinstance(options, dict):
        found = "nothing" if options is None else f"a {type(options).__name__}"
        raise CompSRTError(f"{path} holds {found}", allowed="a mapping of options (name:, datasets:, …)")
    return options
