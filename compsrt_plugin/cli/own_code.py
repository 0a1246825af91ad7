"""`--code FILE.py`: run the user's own code.

A file may define network classes, adapters, pruning hooks, data sets, losses, metrics and models.
Only the command line can name such a file. Option files and packed files cannot.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.inputs import open_input

_EXPECTED = "a Python file with your own code"
_KINDS = "hook, adapter, bound search, data set, loss, metric, model"


@contextlib.contextmanager
def own_code(files: list[str]) -> Iterator[None]:
    """Run Python files. Options can name what the files register until the context ends.

    A file is imported as a module under its own name: `my_net` for `my_net.py`, `package.my_net` inside a package. Its
    folder comes last in the search path, so files can import each other and their neighbours, and each class exists
    once. Each network class that a file defines is registered in ARCH_REGISTRY under its name, unless the file
    registers it. The context restores registries and modules at its end.

    Args:
        files: paths, run in this order.

    Raises:
        CompSRTError: a file is missing, fails or registers nothing, or a name is taken.
    """
    from compsrt_plugin import register

    register()
    paths = [_python_file(given) for given in files]
    registries, before = _registries(), [dict(registry) for registry in _registries()]
    modules, search = set(sys.modules), list(sys.path)
    named = [_module_name(path) for path in paths]
    roots = [root for _, root in named]
    sys.path += [str(root) for root in dict.fromkeys(roots) if str(root) not in sys.path]
    try:
        for path, (name, _) in zip(paths, named):
            _add(path, name, registries)
        _refuse_second_names(dict(zip(paths, (name for name, _ in named))), set(sys.modules) - modules)
        yield
    finally:
        for registry, content in zip(registries, before):
            registry.clear()
            registry.update(content)
        for name in _loaded_from(roots, set(sys.modules) - modules):
            del sys.modules[name]
        sys.path[:] = search
        importlib.invalidate_caches()


def _registries() -> list[MutableMapping[Any, Any]]:
    """Return the registries that user code may add to, ARCH_REGISTRY first."""
    from basicsr.utils import registry

    from compsrt_plugin.pruning import PRUNING_REGISTRY
    from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES
    from compsrt_plugin.quant.convert import ADAPTERS

    named = (registry.ARCH_REGISTRY, registry.DATASET_REGISTRY, registry.LOSS_REGISTRY, registry.METRIC_REGISTRY,
             registry.MODEL_REGISTRY, PRUNING_REGISTRY)  # fmt: skip
    return [*(known._obj_map for known in named), ADAPTERS, BOUND_SEARCHES]


def _python_file(given: str) -> Path:
    path = Path(given).expanduser()
    open_input(path, _EXPECTED).close()
    if path.suffix != ".py":
        raise CompSRTError(f"--code {given} is not a Python file", allowed=_EXPECTED, hint="its name must end in .py")
    return path.resolve()


def _module_name(path: Path) -> tuple[str, Path]:
    """Return the module name of a file, and the folder that must be in the search path."""
    parts, root = [path.stem], path.parent
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    return ".".join(parts), root


def _add(path: Path, name: str, registries: list[MutableMapping[Any, Any]]) -> None:
    before = [dict(registry) for registry in registries]
    module = _import(path, name)
    from torch import nn

    archs, registered = registries[0], [value for registry in registries for value in registry.values()]
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == name
    ]
    for network_class in classes:
        if network_class in registered:
            continue
        if network_class.__name__ in archs:
            taken = f"--code {path}: the name {network_class.__name__} is taken"
            raise CompSRTError(taken, hint="give the class another name")
        archs[network_class.__name__] = network_class
    if not classes and before == [dict(registry) for registry in registries]:
        raise CompSRTError(
            f"--code {path} defines no torch.nn.Module and registers no {_KINDS}",
            hint="decorate its functions or classes, for example with @PRUNING_REGISTRY.register()",
        )


def _import(path: Path, name: str) -> ModuleType:
    try:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != path:
            raise CompSRTError(
                f"--code {path} would be the module {name}, a name that is taken by {origin or 'Python'}",
                hint="give the file another name",
            )
        return importlib.import_module(name)
    except CompSRTError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        said = (str(error).strip().split("\n")[0] or "without a message")[:160]
        raise CompSRTError(f"--code {path} fails when it runs: {type(error).__name__}: {said}") from error


def _refuse_second_names(names: dict[Path, str], loaded: set[str]) -> None:
    """Refuse a file that was imported under a second name, because its classes would exist twice."""
    for other in sorted(loaded - set(names.values())):
        file = getattr(sys.modules[other], "__file__", None)
        name = names.get(Path(file).resolve()) if file else None
        if name is not None:
            raise CompSRTError(f"--code {file} is imported as {other} too", hint=f"import it as {name}")


def _loaded_from(roots: list[Path], names: set[str]) -> list[str]:
    """Return the modules whose file or package is in one of the folders."""
    tops = set()
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        top = name.split(".")[0]
        if file and any(Path(file).resolve().is_relative_to(root / top) or Path(file).resolve() == root / f"{top}.py"
                        for root in roots):  # fmt: skip
            tops.add(top)
    return [name for name in names if name.split(".")[0] in tops]
