"""The two repairs without which `import basicsr` fails on today's torchvision.

They must be there before that import. isort, though, sorts `from basicsr…` above `import compsrt_plugin`. So torch
calls `repair_torchvision` at the end of its own import (entry point `torch.backends`, which torch has from 2.5 on), and
BasicSR imports torch before torchvision. That is why this file stands outside the package, and why all it does then is
to put two finders on `sys.meta_path`: whoever imports torch for something else pays nothing.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

GONE, STILL_THERE = "torchvision.transforms.functional_tensor", "torchvision.transforms._functional_tensor"

in_force: dict[str, str] = {}  # repair -> one line for `basicsr doctor`
_kept_alive: list[Any] = []  # operator declarations, which go when their object goes


def repair_torchvision() -> None:
    """Be ready for the import of torchvision, whoever writes it; calling it twice changes nothing."""
    if not any(isinstance(finder, _Renamed) for finder in sys.meta_path):
        sys.meta_path.insert(0, AroundImport("torchvision", before=define_missing_operators))
        sys.meta_path.append(_Renamed())
    torchvision = sys.modules.get("torchvision")
    if torchvision is not None and getattr(torchvision.__spec__, "_initializing", False):
        define_missing_operators()  # torchvision is being imported, and has imported torch for that


def define_missing_operators() -> None:
    """Declare `torchvision::nms` and `qnms` where torchvision's own extension cannot be loaded.

    A CUDA build of torchvision beside a CPU build of torch does not load its extension, quietly, and then
    fails on the operators that should have been in it. We load the extension first, as torchvision does: if
    that works there is nothing to repair, and if it does not, names without code are enough, since no SR
    network suppresses boxes. Where none is found nothing is declared: an operator that is declared twice ends the
    process, so a torchvision whose extension has a new name must not meet names of ours.
    """
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    # several names: `_C.so`, `_C.cpython-311-x86_64-linux-gnu.so`, `_C.pyd`, and from 0.29 on `_C_stable.so`
    extensions = [p for p in Path(spec.origin).parent.glob("_C*") if p.suffix in (".so", ".pyd", ".dylib")]
    if not extensions:
        return
    for extension in extensions:
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            continue
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept_alive.append(library)
    in_force["torchvision::nms"] = "torchvision's operators do not load beside this torch: declared empty"


class AroundImport(importlib.abc.MetaPathFinder):
    """Comes first on `sys.meta_path`: calls functions before and after a package's own code runs.

    Args:
        name: of the package.
        before: called when the package was found.
        after: called when its code has run; None: nothing.
    """

    def __init__(self, name: str, before: Callable[[], object], after: Callable[[], object] | None = None) -> None:
        self.name, self._before, self._after = name, before, after
        self._looking = False  # the real search goes through this finder again

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the package's own spec, with the functions around its loader's work; None for other names."""
        if fullname != self.name or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                self._before()
                execute(module)
                if self._after is not None:
                    self._after()

            spec.loader.exec_module = exec_module
        return spec


class _Renamed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes last: gives `functional_tensor` (renamed in 0.17; BasicSR imports it) where torchvision has none."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != GONE or importlib.util.find_spec(STILL_THERE) is None:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that is still there in the place of the new one."""
        sys.modules[GONE] = importlib.import_module(STILL_THERE)
        in_force[GONE] = f"{GONE} is gone: alias to _functional_tensor"
