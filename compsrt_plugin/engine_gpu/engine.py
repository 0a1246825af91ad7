"""`GpuEngine`: a packed network in integers on an NVIDIA GPU."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.engine_gpu.limits import check_limits
from compsrt_plugin.engine_gpu.network import network_tensors
from compsrt_plugin.engine_gpu.plan import Plan, plan_for
from compsrt_plugin.errors import CompSRTError

SHAPES = 4  # of input, for which a recorded graph is kept
LEAST_CAPABILITY = (8, 0)  # of Triton's products of bytes and halves
MOST_VALUES = 2**31 - 1  # in one buffer: kernels count in 32 bits
INTERPRETED = "TRITON_INTERPRET"  # Triton's own variable: 1 runs kernels on the CPU, slowly, for tests


def gpu_engine_available() -> bool:
    """Whether Triton and a GPU on which it compiles are there. Never raises."""
    return importlib.util.find_spec("triton") is not None and torch.cuda.is_available()


class GpuEngine:
    """A frozen network in integers on a GPU: the same pixels as the simulated one, up to rounding.

    The first call with a shape compiles what is not yet compiled and records a graph of all kernels; graphs of the
    last shapes are kept. Calls from several threads wait for each other.

    Args:
        packed_network: a `PackedNetwork`, or the network rebuilt from a packed file.
        device: where it runs.

    Attributes:
        scale: of the network; window_size: of its windows.
        plan: how the kernels are launched; None chooses by the size of the picture. Set it before the first call.

    Raises:
        CompSRTError: Triton or the device is missing, or the network cannot run in it.
    """

    def __init__(self, packed_network: Any, device: str | torch.device = "cuda") -> None:
        self.device = _device(device)
        network = packed_network if isinstance(packed_network, nn.Module) else getattr(packed_network, "network", None)
        if not isinstance(network, nn.Module):
            found = f"the engine got {type(packed_network).__name__}"
            raise CompSRTError(found, allowed="a network or a PackedNetwork")
        check_limits(network)
        self.plan: Plan | None = None
        self._tensors = network_tensors(network, self.device)
        self.scale = self._tensors.scale
        self.window_size = self._tensors.form.window
        self._lock = threading.Lock()
        self._graphs: OrderedDict[tuple[int, ...], Callable[[Tensor], Tensor]] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Super-resolve pictures.

        Args:
            x: (b, c, h, w) in 0..1, h and w multiples of the window.

        Returns:
            (b, c, h · scale, w · scale), float32, on the engine's device.

        Raises:
            CompSRTError: another shape, too many pixels, or not enough memory.
        """
        channels, window = self._tensors.in_channels, self.window_size
        if x.ndim != 4 or x.shape[1] != channels or not x.numel() or x.shape[2] % window or x.shape[3] % window:
            raise CompSRTError(
                f"the engine got a picture of shape {tuple(x.shape)}",
                allowed=f"(b, {channels}, h, w), h and w multiples of {window}",
            )
        b, _, h, w = x.shape
        most = MOST_VALUES // max(self._tensors.form.attended, self._tensors.form.width)
        if b * h * w > most:
            raise CompSRTError(f"{b} pictures of {h} × {w} at once", allowed=f"{most} pixels", hint="use tiles")
        with self._lock, torch.no_grad():
            try:
                return self._run((b, channels, h, w))(x.detach().to(self.device, torch.float32))
            except torch.cuda.OutOfMemoryError:
                found = f"{b} pictures of {h} × {w} need more memory than the GPU has"
                raise CompSRTError(found, hint="use tiles") from None

    def _run(self, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        """Return what runs inputs of this shape, the one least lately used forgotten if there are too many."""
        if shape not in self._graphs:
            from compsrt_plugin.engine_gpu.forward import Forward  # needs Triton

            forward = Forward(self._tensors, self.plan or plan_for(self._tensors.form, shape), shape)
            self._graphs[shape] = forward if self.device.type == "cpu" else Recorded(forward, shape, self.device)
            if len(self._graphs) > SHAPES:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(shape)
        return self._graphs[shape]


class Recorded:
    """What a forward pass launches, as one CUDA graph: launching kernel by kernel takes longer than running them.

    Args:
        forward: the pass; kept, since the graph uses its buffers.
        shape: of its input.
        device: where it runs.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device) -> None:
        self._forward, self._device = forward, device
        self._given = torch.zeros(shape, device=device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                forward(self._given)  # compiles
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self._graph):
                self._made = forward(self._given)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the output for x, a tensor of one's own."""
        with torch.cuda.device(self._device):
            self._given.copy_(x)
            self._graph.replay()
            return self._made.clone()


def _device(device: str | torch.device) -> torch.device:
    if importlib.util.find_spec("triton") is None:
        raise CompSRTError("the GPU engine needs Triton", hint="pip install triton, or run the simulated network")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise CompSRTError(f"device is {device!r}", allowed="cuda, cuda:0, …") from None
    if found.type == "cpu" and os.environ.get(INTERPRETED) == "1":
        return found
    if found.type != "cuda":
        raise CompSRTError(f"device is {device!r}", allowed="cuda, cuda:0, …", hint="use `engine.Engine` on the CPU")
    if not torch.cuda.is_available():
        raise CompSRTError("torch sees no GPU", hint="use `engine.Engine`, on the CPU")
    capability = torch.cuda.get_device_capability(found)
    if capability < LEAST_CAPABILITY:
        name, version = torch.cuda.get_device_name(found), ".".join(map(str, capability))
        hint = "use `engine.Engine`, on the CPU"
        raise CompSRTError(f"{name} has compute capability {version}", allowed="8.0 and up", hint=hint)
    return found
