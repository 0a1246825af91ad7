"""Code as a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Code = Callable[[Tensor], Tensor]


class Coded(nn.Module):
    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.code(x)
