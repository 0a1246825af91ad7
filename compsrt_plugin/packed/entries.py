"""Find the entry of a weight file that holds the network, and strip wrapper prefixes from its tensor names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from compsrt_plugin.errors import CompSRTError, nearest

PARAM_KEYS = ("params_ema", "params-ema", "params", "model_state_dict", "state_dict", "model", "net")
"""Entries that hold a network, in the order of preference: the moving average, which trainers evaluate; BasicSR's name;
the names of other trainers (the same as in spandrel)."""
PREFIXES = ("module.", "netG.")  # of parallel training and of GAN trainers; stripped if all names have them
INNER = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")  # of torch wrappers, at any depth
TRAINING = {"optimizers", "schedulers"}
EXPECTED_WEIGHTS = "a state dict of full-precision weights, .pth or .safetensors"
DEEPEST = 8  # entries within entries


def choose_entry(content: Any, param_key: str | None, source: str) -> Mapping[str, Any]:
    """Return the entry of a weight file that holds the network, and log its name.

    Every reader of weights uses this rule: the requested entry; else the first of `PARAM_KEYS` that exists; else the
    only entry that holds tensors; else the file itself. The rule is applied again to the chosen entry.

    Args:
        content: content of the file.
        param_key: the requested entry (`path.param_key_g`). If it is missing but there is only one network, that one is
            used, with a warning.
        source: the file, for messages.

    Raises:
        CompSRTError: there are no weights, several networks and none is requested, or the file is a training state.
    """
    chosen: list[str] = []
    others: list[str] = []
    while isinstance(content, Mapping):
        entries = [str(key) for key, value in content.items() if _holds_tensors(value)]
        bare = any(isinstance(value, torch.Tensor) and value.ndim for value in content.values())
        key = _pick(content, entries, bare, None if chosen else param_key, source)
        if key is None:
            break
        others += [entry for entry in entries if entry != key]
        chosen.append(key)
        content = content[key]
    if not isinstance(content, Mapping) or not content:
        empty = " without entries" if isinstance(content, Mapping) else ", not tensors by name"
        raise CompSRTError(f"{source} holds a {type(content).__name__}{empty}", allowed=EXPECTED_WEIGHTS)
    _tell(source, chosen, others, param_key)
    return content


def _pick(content: Mapping[Any, Any], entries: list[str], bare: bool, asked: str | None, source: str) -> str | None:
    """Return the key of the entry to descend into, or None if `content` itself is the weights."""
    if asked is not None and asked in entries:
        return asked
    known = [key for key in PARAM_KEYS if key in entries]
    if content.keys() >= TRAINING and not known:
        raise CompSRTError(
            f"{source} holds {', '.join(map(str, content))}",
            allowed=EXPECTED_WEIGHTS,
            hint="this is a training state; the weights are in the folder models/ next to it",
        )
    if not entries or (bare and not known):
        return None
    if len(entries) > 1 and (asked is not None or not known):
        missing = f" and no {asked!r}" if asked is not None else ""
        guess = (asked and nearest(asked, entries)) or (known or entries)[0]
        raise CompSRTError(
            f"{source} holds several networks{missing}",
            allowed=", ".join(entries),
            hint=f"name one: path.param_key_g: {guess}",
        )
    return known[0] if known else entries[0]


def _holds_tensors(value: Any, depth: int = 0) -> bool:
    """Return whether a value is a state dict or holds one. (The keys of an optimizer's state are numbers.)"""
    if not isinstance(value, Mapping) or depth > DEEPEST or not all(isinstance(key, str) for key in value):
        return False
    return any(isinstance(part, torch.Tensor) or _holds_tensors(part, depth + 1) for part in value.values())


def _tell(source: str, chosen: list[str], others: list[str], asked: str | None) -> None:
    # not get_root_logger(), whose first call determines BasicSR's log file
    logger = logging.getLogger("basicsr")
    where = f"entry {'.'.join(chosen)}" if chosen else "the whole file"
    beside = f" (also there: {', '.join(others)})" if others else ""
    logger.info("Weights of %s: %s%s", source, where, beside)
    if asked is not None and asked not in chosen:
        logger.warning("%s has no entry %s (path.param_key_g): %s is taken", source, asked, where)


def plain_names(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors by the names of the network, without the prefixes of any number of wrappers.

    >>> plain_names({"module.module.conv._orig_mod.weight": 1, "module.n_averaged": 2})
    {'conv.weight': 1}
    """
    found = {str(name): tensor for name, tensor in tensors.items()}
    for inner in INNER:
        found = {name.replace(inner, ""): tensor for name, tensor in found.items()}
    while True:
        # torch's AveragedModel has a counter next to `module.`
        named = {name: tensor for name, tensor in found.items() if name != "n_averaged"}
        prefix = next((p for p in PREFIXES if named and all(name.startswith(p) for name in named)), None)
        if prefix is None:
            return found
        found = {name[len(prefix) :]: tensor for name, tensor in named.items()}
