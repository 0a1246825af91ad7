"""Who reads a block of an option file: one of our classes, one derived from ours, or somebody else's.

Of our own classes the table knows every key, so that what it does not have is a mistake. Other classes may read keys
of their own: those that stand as text in their source are theirs, and of any other a warning is given.
"""

from __future__ import annotations

import ast
import inspect
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.errors import CompSRTError, unknown_class

OUR_MODELS = ("CompSRTTeacherModel", "CompSRTModel")  # the more special one first
OUR_DATA_SETS = ("CompSRTPairedDataset",)


@dataclass(frozen=True)
class Reader:
    """The class that an option file names.

    Attributes:
        name: of the class.
        ours: which of our classes it is or derives from; None: it is somebody else's.
        reads: the texts in its source, names of keys among them; None for our own classes, which the table knows.
        from_basicsr: whether it is one of BasicSR's own.
    """

    name: str
    ours: str | None
    reads: frozenset[str] | None = None
    from_basicsr: bool = False

    def on_unknown(self, name: str, error: CompSRTError) -> None:
        """Refuse a key that our own class does not read; warn where another class seems not to."""
        if self.reads is None:
            raise error
        if name not in self.reads:
            logging.getLogger("basicsr").warning(
                "%s, as far as its source tells, does not read this: %s", self.name, error
            )


def model_reader(name: str) -> Reader:
    """Return the reader that `model_type` names; CompSRTError if there is no such model."""
    return _reader("model_type", name, OUR_MODELS, "MODEL_REGISTRY")


def data_set_reader(key: str, name: str) -> Reader:
    """Return the reader that `datasets.….type` (`key`) names; CompSRTError if there is no such data set."""
    return _reader(key, name, OUR_DATA_SETS, "DATASET_REGISTRY")


def registered(key: str, name: Any, registry: str) -> Any:
    """Return what `name` stands for in one of BasicSR's registries.

    Raises:
        CompSRTError: nothing; names the key and the nearest name. BasicSR's own complaint offers no way out.
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
    taken = inspect.getmro(own) if own is not None else ()  # what those read, the table says
    modules = {parent.__module__ for parent in lineage if parent not in taken}
    reads = frozenset(text for module in modules for text in _texts(module))
    return Reader(name, own and own.__name__, reads, _package(found) == "basicsr")


def _package(entry: Any) -> str:
    return entry.__module__.split(".")[0]


def _texts(module: str) -> Iterable[str]:
    """Return every text constant in a module's source; none where there is no source to be had."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return ()
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
