"""Registration of the package's operators with `torch.library`, once a process."""

from __future__ import annotations

from collections.abc import Callable

import torch

NAMESPACE = "compsrt"


def declare_once(name: str, declare: Callable[[torch.library.Library], None]) -> None:
    """Declare an operator unless this process has it already, as when a notebook reloads a module.

    Args:
        name: of the operator, without the namespace.
        declare: defines the operator, its kernels and its gradient in the given library.
    """
    kept = f"library_of_{name}"
    if hasattr(torch.ops.compsrt, kept):
        return
    library = torch.library.Library(NAMESPACE, "FRAGMENT")
    declare(library)
    # Declarations end with their library, so it is kept beside the operators and outlives a reloaded module.
    vars(torch.ops.compsrt)[kept] = library
