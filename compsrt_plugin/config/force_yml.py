"""Apply `--force_yml a:b=c`, which changes options from the command line. Values are read as YAML, never evaluated."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from typing import Any

from compsrt_plugin.config.following import follow_changes
from compsrt_plugin.config.pipeline_blocks import FILES, OUR_BLOCKS
from compsrt_plugin.config.reader import read_yaml
from compsrt_plugin.config.typed import fields_of
from compsrt_plugin.errors import CompSRTError, nearest, unknown_name


def apply_force_yml(options: dict[str, Any], entries: Iterable[str]) -> None:
    """Change `options` in place by entries such as `quant:bits=2` or `val:save_img=false`.

    An entry may set a new key in any existing block, and at any depth in our blocks, which a file may lack. As in
    BasicSR, `none` means null, except in our blocks, where it is a name (`transform: none`). If an entry changes the
    scale or the bits, the options that depend on them change too, and one line reports it: see `following`.

    Raises:
        CompSRTError: an entry has no `=`, its value is not YAML, or its block does not exist; names the entry and the
            nearest block.
    """
    original, forced = copy.deepcopy(options), []
    for entry in entries:
        path, equals, text = entry.partition("=")
        keys = [key.strip() for key in path.split(":")]
        if not equals or not all(keys):
            raise CompSRTError(f"--force_yml {entry!r}", allowed="block:key=value, as in quant:bits=3")
        known = {*options, *(name for file in FILES.values() for name in fields_of(file))}
        if keys[0] not in known:
            raise unknown_name(f"key in --force_yml {entry!r}:", keys[0], known)
        ours = keys[0] in OUR_BLOCKS
        value = read_yaml(text.strip(), f"--force_yml {entry}")
        if isinstance(value, str) and value.lower() == "none" and not ours:
            value = None
        _block(options, keys[:-1], entry, create=ours)[keys[-1]] = value
        forced.append(tuple(keys))
    changes = follow_changes(options, original, forced)
    if changes:
        # BasicSR's logger is not set up yet, so the line goes to standard error
        logging.getLogger("basicsr").warning(
            "--force_yml changes the scale or the bits, and therefore: %s", ", ".join(changes)
        )


def _block(options: dict[str, Any], keys: list[str], entry: str, create: bool) -> dict[str, Any]:
    """Return the dict that an entry writes into."""
    block: Any = options
    walked: list[str] = []
    for key in keys:
        if create and block.get(key) is None:
            block[key] = {}
        if key not in block:
            place = f"in {':'.join(walked)}" if walked else "in the option file"
            guess = nearest(key, [name for name, value in block.items() if isinstance(value, dict)])
            raise CompSRTError(
                f"--force_yml {entry!r}: there is no block {key!r} {place}",
                hint=f"did you mean {guess!r}?" if guess else None,
            )
        block = block[key]
        walked.append(key)
        if not isinstance(block, dict):
            raise CompSRTError(f"--force_yml {entry!r}: {':'.join(walked)} is {block!r}, not a block of keys")
    return block
