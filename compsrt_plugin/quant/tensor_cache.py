"""A cache for constant tensors that never hands out a tensor which belongs to one pass only.

A tensor made within `torch.inference_mode()` cannot take part in training later. A tensor made under a
`FakeTensorMode`, a tracer or a functorch transform has no values, or belongs to a pass that ends. Such a tensor must
not be cached, and a cached tensor must not be given to such a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

P = ParamSpec("P")


def makes_plain_tensors() -> bool:
    """Return whether tensors made now are plain: no dispatch mode, no functorch transform, no compiler."""
    return not (
        torch.compiler.is_compiling()
        or is_in_torch_dispatch_mode()
        or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
    )


def cached_tensor(maxsize: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Return a decorator that caches the tensors of a function which depends on its arguments alone.

    Args:
        maxsize: number of tensors to keep. Callers must not write to them.
    """

    def decorate(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @lru_cache(maxsize)
        def cached(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            with torch.inference_mode(False):
                return make(*args, **kwargs)

        @wraps(make)
        def get(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            return cached(*args, **kwargs) if makes_plain_tensors() else make(*args, **kwargs)

        get.cache_clear = cached.cache_clear  # pyright: ignore[reportAttributeAccessIssue]
        return get

    return decorate
