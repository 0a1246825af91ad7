"""`--code FILE.py`: the user's own code. Network classes, adapters, pruning hooks, data sets, losses, metrics, models.

Only the command line names such a file. Neither an option file nor a packed file can have one run.
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

EXPECTED = "a Python file with code of your own"
KINDS = "hook, adapter, bound search, data set, loss, metric, model"


@contextlib.contextmanager
def own_code(files: list[str]) -> Iterator[None]:
    """Run Python files, so that what they register can be named in options until the context ends.

    A file is an ordinary module under its own name, `my_net` for `my_net.py` and `package.my_net` inside a package,
    and its folder is searched for modules last: files may import each other and their neighbours, and every class
    exists once. Each network class that a file defines is put into ARCH_REGISTRY under its name, unless the file
    registers it itself. At the end registries and modules are as they were.

    Args:
        files: paths; run in this order.

    Raises:
        CompSRTError: no such file, one that fails or brings nothing, or a name that is taken.
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
    """Return what code of one's own may add to; ARCH_REGISTRY's is the first."""
    from basicsr.utils import registry

    from compsrt_plugin.pruning import PRUNING_REGISTRY
    from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES
    from compsrt_plugin.quant.convert import ADAPTERS

    named = (registry.ARCH_REGISTRY, registry.DATASET_REGISTRY, registry.LOSS_REGISTRY, registry.METRIC_REGISTRY,
             registry.MODEL_REGISTRY, PRUNING_REGISTRY)  # fmt: skip
    return [*(known._obj_map for known in named), ADAPTERS, BOUND_SEARCHES]


def _python_file(given: str) -> Path:
    path = Path(given).expanduser()
    open_input(path, EXPECTED).close()
    if path.suffix != ".py":
        raise CompSRTError(f"--code {given} is no Python file", allowed=EXPECTED, hint="its name ends in .py")
    return path.resolve()


def _module_name(path: Path) -> tuple[str, Path]:
    """Return the name under which Python imports a file, and the folder it has to search for it."""
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
            f"--code {path} defines no torch.nn.Module and registers no {KINDS}",
            hint="decorate what it defines, as in @PRUNING_REGISTRY.register()",
        )


def _import(path: Path, name: str) -> ModuleType:
    try:
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None or Path(origin).resolve() != path:
            raise CompSRTError(
                f"--code {path} would be the module {name}, a name that {origin or 'Python'} has",
                hint="give the file another name",
            )
        return importlib.import_module(name)
    except CompSRTError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        said = (str(error).strip().split("\n")[0] or "without a word")[:160]
        raise CompSRTError(f"--code {path} fails when it is run: {type(error).__name__}: {said}") from error


def _refuse_second_names(names: dict[Path, str], loaded: set[str]) -> None:
    """Refuse a file that another one imported under a second name: its classes would be there twice, and not equal."""
    for other in sorted(loaded - set(names.values())):
        file = getattr(sys.modules[other], "__file__", None)
        name = names.get(Path(file).resolve()) if file else None
        if name is not None:
            raise CompSRTError(f"--code {file} is imported as {other} too", hint=f"import it as {name}")


def _loaded_from(roots: list[Path], names: set[str]) -> list[str]:
    """Return those modules whose file, or whose package, lies in one of the folders."""
    tops = set()
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        top = name.split(".")[0]
        if file and any(Path(file).resolve().is_relative_to(root / top) or Path(file).resolve() == root / f"{top}.py"
                        for root in roots):  # fmt: skip
            tops.add(top)
    return [name for name in names if name.split(".")[0] in tops]
