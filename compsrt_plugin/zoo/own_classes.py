"""Classes of a notebook or script as network classes that a packed file names."""

from __future__ import annotations

from torch import nn

from compsrt_plugin.errors import CompSRTError


def register_class(network_class: type[nn.Module]) -> None:
    """Make a class known by its name, as `--code` does on the command line.

    A class that was defined again, as by a notebook's cell that ran twice, takes the place of the earlier one.

    Raises:
        CompSRTError: it is not a class of modules, or another class has its name.
    """
    from basicsr.utils.registry import ARCH_REGISTRY  # registers our archs, which import this folder

    if not (isinstance(network_class, type) and issubclass(network_class, nn.Module)):
        raise CompSRTError(f"network_class is {network_class!r}", allowed="a subclass of torch.nn.Module")
    known = ARCH_REGISTRY._obj_map
    name = network_class.__name__
    before = known.get(name)
    if before is not None and _origin(before) != _origin(network_class):
        raise CompSRTError(
            f"the name {name} is taken by {before.__module__}.{before.__qualname__}", hint="give the class another name"
        )
    known[name] = network_class


def _origin(network_class: type) -> tuple[str, str]:
    return network_class.__module__, network_class.__qualname__
