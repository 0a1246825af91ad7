"""`Engine`: a packed network, run by the compiled library as a whole or layer by layer, instead of by PyTorch."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.devices import example
from compsrt_plugin.engine.describe import HINT, IN_ONE, blocks_of, check_network, describe_network, is_swinir
from compsrt_plugin.engine.inside import Inside, Part
from compsrt_plugin.engine.operators import Operators
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import level, loading
from compsrt_plugin.native.loading import DONE
from compsrt_plugin.quant import named_quantizers, quantized_layers
from compsrt_plugin.threads import checked, cores, warn

STAGES = ("transform", "quantize", "products", "scores", "softmax", "map_products", "norm", "gelu", "conv", "copies")
"""In the order of `enum Stage` in `csrc/engine/network.h`."""


def engine_available() -> bool:
    """Return whether the compiled library can be used. It runs on every processor, on those with AVX2 or NEON fast."""
    return loading.library() is not None


def unsupported_reason(network: Any = None) -> str | None:
    """Return why the engine cannot run, or cannot run this network, in one line; None if it can."""
    if not engine_available():
        return loading.missing()
    if network is not None:
        module = _module(network)
        try:
            (check_network if is_swinir(module) else check_layers)(module)
        except CompSRTError as error:
            return str(error)
    return None


class Engine:
    """A frozen network in integers: the same pixels as the simulated one, up to rounding.

    A SwinIR runs in the compiled library as a whole. In any other network the library runs linear layers and attention,
    and PyTorch runs the rest of the network's code; `parts` lists them. Calls from several threads wait for each other.
    Works in a process forked from the one that made it.

    Args:
        packed_network: a `PackedNetwork`, or the network rebuilt from a packed file.
        threads: how many to compute with; None: one per core this process may use. The attribute of that name is
            how many there are: fewer, with a warning, if the system cannot start more.
        profile: enable per-stage timing (`stage_times`).

    Attributes:
        level: name of the level of instructions in use.
        parts: of a network that does not run as a whole.

    Raises:
        CompSRTError: the compiled library is missing, the network cannot run in it, or there is not enough memory.
    """

    threads: int
    level: str
    parts: Sequence[Part] = ()

    def __new__(cls, packed_network: Any, threads: int | None = None, profile: bool = False) -> Engine:
        """Choose the kind of engine that fits the network."""
        if cls is Engine:
            return object.__new__(WholeEngine if is_swinir(_module(packed_network)) else LayersEngine)
        return object.__new__(cls)

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        """Super-resolve images (b, c, h, w) in 0..1: float32, on the CPU, `scale` times as high and wide."""
        raise NotImplementedError

    def stage_times(self) -> dict[str, float]:
        """Return milliseconds per stage of the last call; empty without `profile`."""
        raise NotImplementedError


class LayersEngine(Engine):
    """A network of any code: its linear layers and attention in integers."""

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        in_use = level()
        self.level = in_use.name
        network = _module(packed_network)
        check_layers(network)
        self.threads = cores() if threads is None else checked("threads", threads)
        self.profile = profile
        self._network = network
        self._operators = Operators(in_use, self.threads)
        self._inside = Inside(network, self._operators)
        self.parts = self._inside.parts
        self._times: dict[str, float] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """See `Engine`."""
        place = example(self._network)
        assert place is not None
        before = torch.get_num_threads()
        with torch.inference_mode(), self._inside:
            if before != self.threads:
                torch.set_num_threads(self.threads)
            self._operators.spent.clear()
            try:
                start = time.perf_counter()
                y = self._network(x.to(place))
                total = time.perf_counter() - start
            finally:
                if before != self.threads:
                    torch.set_num_threads(before)
            if self.profile:
                spent = {stage: seconds * 1e3 for stage, seconds in self._operators.spent.items()}
                self._times = {**spent, "pytorch": total * 1e3 - sum(spent.values())}
        return y.to("cpu", torch.float32).clone()  # no longer an inference tensor

    def stage_times(self) -> dict[str, float]:
        """Return milliseconds of the last call in `linear`, `attention` and `pytorch`; empty without `profile`."""
        return dict(self._times)


def check_layers(network: nn.Module) -> None:
    """Refuse a network that has nothing to run in integers.

    Raises:
        CompSRTError: not quantized, not frozen, or published codes.
    """
    layers = dict(quantized_layers(network))
    if not layers:
        raise CompSRTError("the network is not quantized", allowed="one rebuilt from a packed file", hint=HINT)
    for name, layer in layers.items():
        if not layer.frozen:
            raise CompSRTError(f"{name} is not frozen", allowed="a network rebuilt from a packed file", hint=HINT)
    for name, quantizer in named_quantizers(network):
        if quantizer.spec.codes != "strict":
            raise CompSRTError(f"{name} has codes: paper", allowed="codes: strict in the engine", hint=HINT)


class WholeEngine(Engine):
    """A SwinIR, all of it in the compiled library.

    Attributes:
        window_size: multiple that an input's height and width must have.
        scale: factor by which the library enlarges.
    """

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        in_use = level()
        self.level = in_use.name
        network = _module(packed_network)
        check_network(network)
        self.threads = cores() if threads is None else checked("threads", threads)
        self.profile = profile
        self.window_size: int = blocks_of(network)[0].window_size
        self.scale: int = network.upscale if network.upsampler else 1
        self._network = network  # for the upsamplers that PyTorch runs
        self._in_one = network.upsampler == IN_ONE
        self._described = describe_network(network, in_use)
        self._lock = threading.Lock()
        self._level = in_use.number
        self._handle: int | None = None
        self._process = 0
        self._times: dict[str, float] = {}
        self._start()

    def _start(self) -> None:
        """Create the engine in the library; after a fork once more, since threads are not inherited."""
        loaded, handle = loading.library(), ctypes.c_void_p()
        assert loaded is not None
        description = ctypes.addressof(self._described)
        status = loaded.compsrt_engine_create(self._level, description, self.threads, ctypes.byref(handle))
        self._handle, self._process = handle.value, os.getpid()
        if status != DONE:
            raise CompSRTError(f"the engine got no memory for {self.threads} threads", hint="use fewer threads")
        started = loaded.compsrt_engine_threads(self._handle)
        if started < self.threads:
            warn(self.threads, started)
            self.threads = started
        loaded.compsrt_engine_profile(self._handle, int(self.profile))

    def __call__(self, x: Tensor) -> Tensor:
        """Super-resolve images.

        Args:
            x: (b, c, h, w) in 0..1, h and w multiples of the window.

        Returns:
            (b, c, h · scale, w · scale), float32, on the CPU.

        Raises:
            CompSRTError: another shape, or not enough memory.
        """
        channels, window = self._described.in_channels, self.window_size
        if x.ndim != 4 or x.shape[1] != channels or not x.numel() or x.shape[2] % window or x.shape[3] % window:
            raise CompSRTError(
                f"the engine got an image of shape {tuple(x.shape)}",
                allowed=f"(b, {channels}, h, w), h and w multiples of {window}",
            )
        x = x.detach().to("cpu", torch.float32).contiguous()
        b, _, h, w = x.shape
        scale = self._described.scale
        out = torch.empty(b, self._described.out_channels, h * scale, w * scale, dtype=x.dtype, device="cpu")
        with self._lock:
            if self._process != os.getpid():
                self._start()
            loaded = loading.library()
            assert loaded is not None
            for source, target in zip(x, out):
                if loaded.compsrt_engine_run(self._handle, source.data_ptr(), target.data_ptr(), h, w) != DONE:
                    raise CompSRTError(f"an image of {h} × {w} needs more memory than there is", hint="use tiles")
            if self.profile:
                self._take_times()
        return out if self._in_one else upsampled(self._network, x, out)

    def _take_times(self) -> None:
        seconds = (ctypes.c_double * len(STAGES))()
        loaded = loading.library()
        assert loaded is not None
        loaded.compsrt_engine_times(self._handle, seconds)
        self._times = {stage: value * 1e3 / self.threads for stage, value in zip(STAGES, seconds)}

    def stage_times(self) -> dict[str, float]:
        """Return milliseconds per stage of the last call, mean over threads; empty without `profile`."""
        return dict(self._times)

    def __del__(self) -> None:
        handle, loaded = getattr(self, "_handle", None), loading.library()
        if handle and loaded is not None and self._process == os.getpid():
            loaded.compsrt_engine_destroy(handle)


def _module(packed_network: Any) -> Any:
    """Return the network itself."""
    found = packed_network if isinstance(packed_network, nn.Module) else getattr(packed_network, "network", None)
    if not isinstance(found, nn.Module):
        raise CompSRTError(f"the engine got {type(packed_network).__name__}", allowed="a network or a PackedNetwork")
    return found


def upsampled(network: Any, x: Tensor, features: Tensor) -> Tensor:
    """Return the images of features (b, d, h, w): run the upsamplers that PyTorch runs here, as SwinIR's forward does.

    Args:
        network: the SwinIR.
        x: its input, (b, c, h, w).
        features: what its body returned plus the shallow features.

    Returns:
        (b, c, h · scale, w · scale), float32, on the CPU, wherever the network is.
    """
    place = example(network)  # no weight: the last layer may be frozen to codes
    assert place is not None
    x, features = x.to(place), features.to(place)
    mean = network.mean.type_as(x)
    with torch.no_grad():
        if network.upsampler == "pixelshuffle":
            y = network.conv_last(network.upsample(network.conv_before_upsample(features)))
        elif network.upsampler == "nearest+conv":
            y = network.conv_before_upsample(features)
            for conv in (network.conv_up1, network.conv_up2):
                y = network.lrelu(conv(F.interpolate(y, scale_factor=2, mode="nearest")))
            y = network.conv_last(network.lrelu(network.conv_hr(y)))
        else:
            y = (x - mean) * network.img_range + network.conv_last(features)
        return (y / network.img_range + mean).to("cpu", torch.float32)
