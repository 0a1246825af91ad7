"""`WholeEngine`: a SwinIR that runs in the compiled library as a whole."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin import native
from compsrt_plugin.devices import example
from compsrt_plugin.engine.describe import IN_ONE, blocks_of, check_network, describe_block, describe_network, is_swinir
from compsrt_plugin.engine.engine import Engine
from compsrt_plugin.engine.layer_runs import FLOATS, INTEGERS, KEPT, NO_SUM, LayerRun
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import loading
from compsrt_plugin.native.loading import DONE
from compsrt_plugin.quant import QuantConv2d, QuantLinear

CONVS = "3x3 convolutions run in floats, by Winograd's filtering"
STAGES = ("transform", "quantize", "products", "scores", "softmax", "map_products", "norm", "gelu", "conv", "copies")
"""In the order of `enum Stage` in `csrc/engine/network.h`."""


class WholeEngine(Engine, only=is_swinir, check=check_network):
    """A SwinIR that runs in the compiled library as a whole.

    Attributes:
        window_size: multiple that an input's height and width must have.
        scale: factor by which the library enlarges.
    """

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        network, level = self._prepare(packed_network, threads, profile)
        self.window_size: int = blocks_of(network)[0].window_size
        self.scale: int = network.upscale if network.upsampler else 1
        self._in_one = network.upsampler == IN_ONE
        self._described = describe_network(network, level)
        self._lock = threading.Lock()
        self._level = level.number
        self._handle: int | None = None
        self._process = 0
        self._start()

    def _start(self) -> None:
        """Create the engine in the library; again after a fork, since threads are not inherited."""
        loaded, handle = loading.library(), ctypes.c_void_p()
        assert loaded is not None
        description = ctypes.addressof(self._described)
        status = loaded.compsrt_engine_create(self._level, description, self.threads, ctypes.byref(handle))
        self._handle, self._process = handle.value, os.getpid()
        if status != DONE:
            raise CompSRTError(f"the engine got no memory for {self.threads} threads", hint="use fewer threads")
        started = loaded.compsrt_engine_threads(self._handle)
        self._got_threads(started)
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

    def layers(self, height: int, width: int) -> list[LayerRun]:
        """See `Engine`."""
        found = []
        names = {module: name for name, module in self._network.named_modules()}
        for block in blocks_of(self._network):
            described = describe_block(block, self.window_size, self._described.split, native.level())
            qkv, mlp, name = block.attn.qkv, block.mlp, names[block.attn]
            layers = {"q": qkv.q, "k": qkv.k, "v": qkv.v, "proj": block.attn.proj, "fc1": mlp.fc1, "fc2": mlp.fc2}
            for field, layer in layers.items():
                found.append(_layer_run(names[layer], layer, bool(getattr(described, field).integer)))
            attention = described.attention
            integer = bool(attention.integer_scores and attention.integer_map)
            found.append(LayerRun(name, INTEGERS) if integer else LayerRun(name, FLOATS, NO_SUM))
        convs = (nn.Conv2d, QuantConv2d)
        return found + [LayerRun(name, FLOATS, CONVS) for module, name in names.items() if isinstance(module, convs)]

    def __del__(self) -> None:
        handle, loaded = getattr(self, "_handle", None), loading.library()
        if handle and loaded is not None and self._process == os.getpid():
            loaded.compsrt_engine_destroy(handle)


def _layer_run(name: str, layer: nn.Module, integer: bool) -> LayerRun:
    if integer:
        return LayerRun(name, INTEGERS)
    return LayerRun(name, FLOATS, NO_SUM if isinstance(layer, QuantLinear) else KEPT)


def upsampled(network: Any, x: Tensor, features: Tensor) -> Tensor:
    """Return the images of features (b, d, h, w): run the upsamplers in PyTorch, as SwinIR's forward does.

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
