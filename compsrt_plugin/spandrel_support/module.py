"""A packed network as one `nn.Module`: the integer engine on the CPU, PyTorch anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.engine import Engine, unsupported_reason
from compsrt_plugin.inference import UpscaleCall, super_resolve
from compsrt_plugin.packed.open import PackedNetwork


class PackedModule(nn.Module):
    """A packed network that takes images of any size and moves between devices.

    Args:
        source: the packed network.

    Attributes:
        network: the simulated network, which runs on other devices than the CPU, and where the engine cannot.
        channels: of its images.
        by_engine: whether the integer engine runs it on the CPU.
    """

    def __init__(self, source: PackedNetwork) -> None:
        super().__init__()
        self.network = source.network
        self.scale, self.window = source.header.scale, int(getattr(source.network, "window_size", 1))
        self.channels = int(source.header.arch.get("in_chans") or getattr(source.network, "channels", 3))
        self.by_engine = unsupported_reason(source) is None
        # spandrel asks the first parameter for device and dtype, and a frozen network may have no other
        self.place = nn.Parameter(torch.empty(0, device="cpu", dtype=torch.float32), requires_grad=False)
        self._engine: Engine | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return images (b, c, h, w) in 0 to 1 as (b, c, h * scale, w * scale), on the device and in the dtype of `x`.

        The pixels are those of `basicsr upscale`. Large images run in tiles where memory requires it.
        """
        return super_resolve(self._run(), x, scale=self.scale, window=self.window).to(x)

    def _run(self) -> UpscaleCall:
        if not self.by_engine or self.place.device.type != "cpu" or self.place.dtype != torch.float32:
            return self.network
        if self._engine is None:
            self._engine = Engine(self.network)
        return self._engine

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> PackedModule:
        """Move or convert the parameters; the engine, which holds them as they were, is made again when needed."""
        before = (self.place.device, self.place.dtype)
        super()._apply(fn, recurse)
        if (self.place.device, self.place.dtype) != before:
            self._engine = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine out of copies and pickles: it lives in this process."""
        return {**self.__dict__, "_engine": None}
