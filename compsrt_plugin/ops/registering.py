"""Registration of the package's operators with `torch.library`, once a process."""

from __future__ import annotations

from collections.abc import Callable

import torch

NAMESPACE = "compsrt"


def register_once(name: str, declare: Callable[[torch.library.Library], None]) -> None:
    """Declare an operator unless this process has it: notebooks import modules anew.

    Args:
        name: of the operator, without the namespace.
        declare: defines it and what belongs to it in the library that it is given.
    """
    kept = f"library_of_{name}"
    if hasattr(torch.ops.compsrt, kept):
        return
    library = torch.library.Library(NAMESPACE, "FRAGMENT")
    declare(library)
    # The declarations go with the library, which therefore stands beside the operators, not in a module.
    vars(torch.ops.compsrt)[kept] = library
