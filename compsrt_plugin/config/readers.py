"""Find the class that reads a block of an option file: one of ours, one derived from ours, or another.

The typed blocks have every key that our own classes read, so any other key is a mistake. Other classes may read further
keys: a string constant in their source counts as a key, and any other key causes a warning.
"""

from __future__ import annotations

import ast
import inspect
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.config.pipeline_blocks import TRAINS
from compsrt_plugin.errors import CompSRTError, unknown_class

OUR_MODELS = tuple(TRAINS)
OUR_DATA_SETS = ("CompSRTPairedDataset",)


@dataclass(frozen=True)
class Reader:
    """Hold what is known of a class that an option file names.

    Attributes:
        name: of the class.
        ours: our class that it is or derives from; None for another class.
        reads: string constants in its source, which include its keys; None for our own classes.
        from_basicsr: whether BasicSR defines it.
    """

    name: str
    ours: str | None
    reads: frozenset[str] | None = None
    from_basicsr: bool = False

    def on_unknown(self, name: str, error: CompSRTError) -> None:
        """Raise the error if the class is ours; log a warning if another class does not seem to read the key."""
        if self.reads is None:
            raise error
        if name not in self.reads:
            logging.getLogger("basicsr").warning("%s does not seem to read this key: %s", self.name, error)


def model_reader(name: str) -> Reader:
    """Return the reader that `model_type` names; CompSRTError if there is no such model."""
    return _reader("model_type", name, OUR_MODELS, "MODEL_REGISTRY")


def data_set_reader(key: str, name: str) -> Reader:
    """Return the reader that `datasets.….type` (`key`) names; CompSRTError if there is no such data set."""
    return _reader(key, name, OUR_DATA_SETS, "DATASET_REGISTRY")


def registered(key: str, name: Any, registry: str) -> Any:
    """Return the entry `name` of one of BasicSR's registries.

    Raises:
        CompSRTError: there is none; names the key and the nearest name. BasicSR's own error offers no way out.
    """
    from compsrt_plugin import register

    register()
    from basicsr.utils import registry as registries

    known = getattr(registries, registry)._obj_map
    for candidate in (name, f"{name}_basicsr"):  # BasicSR looks under both
        if candidate in known:
            return known[candidate]
    raise unknown_class(f"name in {key}:", name, {entry.removesuffix("_basicsr") for entry in known})


def _reader(key: str, name: str, ours: Iterable[str], registry: str) -> Reader:
    if name in ours:
        return Reader(name, name)
    found = registered(key, name, registry)
    lineage = inspect.getmro(found) if isinstance(found, type) else (found,)
    own = next((parent for parent in lineage if parent.__name__ in ours and _package(parent) == "compsrt_plugin"), None)
    taken = inspect.getmro(own) if own is not None else ()  # the typed blocks have the keys of these
    modules = {parent.__module__ for parent in lineage if parent not in taken}
    reads = frozenset(text for module in modules for text in _texts(module))
    return Reader(name, own and own.__name__, reads, _package(found) == "basicsr")


def _package(entry: Any) -> str:
    return entry.__module__.split(".")[0]


def _texts(module: str) -> Iterable[str]:
    """Return every string constant in a module's source; none if there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return ()
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
