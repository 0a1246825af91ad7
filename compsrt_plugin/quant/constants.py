"""Matrices made once: a cache that holds ordinary tensors only.

Made within `torch.inference_mode()` a tensor cannot take part in training later; made under a `FakeTensorMode`, a
tracer or a functorch transform it holds no values, or belongs to a pass that is over. Such a tensor must not be kept
for others, nor an ordinary one be handed to such a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

P = ParamSpec("P")


def ordinary() -> bool:
    """Tell whether tensors made now are ordinary ones: no dispatch mode, no functorch transform, no compiler."""
    return not (
        torch.compiler.is_compiling()
        or is_in_torch_dispatch_mode()
        or torch._C._functorch.peek_interpreter_stack() is not None  # pyright: ignore[reportAttributeAccessIssue]
    )


def constant(maxsize: int) -> Callable[[Callable[P, Tensor]], Callable[P, Tensor]]:
    """Return a decorator that keeps the last tensors of a function which makes them from its arguments alone.

    Args:
        maxsize: how many are kept. Nobody may write to them.
    """

    def decorate(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
        @lru_cache(maxsize)
        def kept(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            with torch.inference_mode(False):
                return make(*args, **kwargs)

        @wraps(make)
        def found(*args: P.args, **kwargs: P.kwargs) -> Tensor:
            return kept(*args, **kwargs) if ordinary() else make(*args, **kwargs)

        found.cache_clear = kept.cache_clear  # pyright: ignore[reportAttributeAccessIssue]
        return found

    return decorate
