"""`--arch FILE.py`: the user's own network classes, for `network_g.base.type` to name.

Only the command line names such a file. Neither an option file nor a packed file can have one run.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from compsrt_plugin.checkpoint.inputs import open_input
from compsrt_plugin.errors import CompSRTError

EXPECTED = "a Python file with a network class"


def add_own_archs(files: list[str]) -> None:
    """Run Python files and put the network classes they define into ARCH_REGISTRY, under their own names.

    A class that its file registers itself, as BasicSR's arch files do, is there already.

    Raises:
        CompSRTError: no such file, one that fails, without a network class, or with a name that is taken.
    """
    from compsrt_plugin import register

    register()
    from basicsr.utils.registry import ARCH_REGISTRY
    from torch import nn

    for given in files:
        path = Path(given).expanduser()
        open_input(path, EXPECTED).close()
        name = f"compsrt_own_arch_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise CompSRTError(f"--arch {path} is no Python file", allowed=EXPECTED)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # the user's own code may raise anything
            raise CompSRTError(f"--arch {path} fails when it is run: {type(error).__name__}: {error}") from error
        classes = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == name
        ]
        if not classes:
            raise CompSRTError(f"--arch {path} defines no torch.nn.Module", allowed=EXPECTED)
        for network_class in classes:
            taken = ARCH_REGISTRY._obj_map.get(network_class.__name__)
            if taken is None:
                ARCH_REGISTRY.register(network_class)
            elif taken is not network_class and taken.__module__ != name:
                hint = "give the class another name"
                raise CompSRTError(f"--arch {path}: the name {network_class.__name__} is taken", hint=hint)
            else:
                ARCH_REGISTRY._obj_map[network_class.__name__] = network_class  # the file was read before
