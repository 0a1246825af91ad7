"""A device beside the CPU on a machine that has none: it computes with the CPU, and refuses what another device would.

`torch.device("other")` is torch's own slot for foreign devices (PrivateUse1), with one Python function behind every
operator. Its tensors are wrappers that hold a tensor of the CPU. The values are real, so that whole commands run.

An operator that gets tensors of both devices raises what CUDA raises. Reading the memory of its tensors raises too. So
does an operator of this package, which has code for the CPU alone.

torch counts devices before the first backward pass of a process, and never again: tests on this one run in processes of
their own (`test_other_device.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "other"
ACROSS = {"copy_", "_to_copy"}  # operators that go from one device to another
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}  # CUDA takes indices of the CPU too

# operators that make an empty tensor and let another one give it its size, which a wrapper cannot follow
SIZED_LATER = ("eye.default", "eye.m", "arange.default", "arange.start", "arange.start_step", "linspace.default",
               "randperm.default")  # fmt: skip

_registered: list[Any] = []  # torch's libraries, which go when their object goes


class OnOther(Tensor):
    """A tensor of that device.

    Attributes:
        held: the tensor of the CPU with its values.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> OnOther:
        with torch.inference_mode(held.is_inference()):  # a view is what its base is, not what the mode says
            made = Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                layout=held.layout,
                device=torch.device(NAME, 0),
            )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(operator, *args, **(kwargs or {}))

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, value: OnOther) -> None:
        Tensor.data.__set__(self, value)
        self.held = value.held

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied: Any = OnOther(self.held.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied)
        memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:  # a file of it is read onto the CPU
        return self.held.detach().__reduce_ex__(protocol)

    def data_ptr(self) -> int:
        raise RuntimeError(f"the memory of a tensor on {NAME} is not the CPU's")

    def tolist(self) -> Any:  # torch's own refuses subclasses
        return self.held.tolist()

    def __format__(self, how: str) -> str:
        return format(self.item(), how) if self.dim() == 0 else super().__format__(how)


class _Backend:
    """What torch asks of a device's module."""

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None: ...

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@contextmanager
def on_other_device() -> Iterator[torch.device]:
    """Register the device, once a process, and give it; within, `module.to` keeps parameters, as it does for CUDA."""
    if not _registered:
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
        everything, single = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
        everything.fallback(_compute, "PrivateUse1")
        single.impl("_copy_from", _copy_from, "PrivateUse1")
        for name in SIZED_LATER:
            kind, overload = name.split(".")
            operator = getattr(getattr(torch.ops.aten, kind), overload)
            single.impl(operator, partial(_compute, operator), "PrivateUse1")
        _registered.extend((everything, single))
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        yield torch.device(NAME)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


def _compute(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator on the CPU, on tensors that are all of one device; its results are on that device."""
    name = operator.__name__.split(".")[0]
    if operator.namespace not in ("aten", "prims"):
        raise NotImplementedError(f"Could not run '{operator}' with arguments from the '{NAME}' backend")
    if operator._can_decompose():  # made of others: torch itself has taken it apart, unless in inference mode
        return operator.decompose(*args, **kwargs)
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    if name not in ACROSS:
        checked = tree_leaves((args[0], args[2:])) if name in INDEXED else given
        _check(name, [x for x in checked if isinstance(x, Tensor)])
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    there = any(isinstance(x, OnOther) for x in given) if target is None else target.type == NAME
    wrappers = {id(x.held): x for x in given if isinstance(x, OnOther)}

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        known = wrappers.get(id(x))  # an operator in place returns what it got
        if known is not None and (known.shape != x.shape or known.stride() != x.stride()):
            raise NotImplementedError(f"{operator} changes the shape in place")
        return known if known is not None else OnOther(x) if there and not any(x is y for y in given) else x

    found = operator(*tree_map(_held, args), **tree_map(_held, kwargs))
    return tree_map(wrapped, found)


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy where torch's own code does, in which no operator of ours is asked: in `torch.tensor` and the like."""
    _held(target).copy_(_held(source))
    return target


def _check(name: str, tensors: list[Tensor]) -> None:
    """Raise what CUDA does for tensors of two devices; one number of the CPU's is allowed anywhere."""
    if any(isinstance(x, OnOther) for x in tensors) and any(not isinstance(x, OnOther) and x.dim() for x in tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu! ({name})"
        )


def _held(x: Any) -> Any:
    if isinstance(x, OnOther):
        return x.held
    return torch.device("cpu") if isinstance(x, torch.device) else x
