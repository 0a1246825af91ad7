"""Run a weight file that others published, with the weights of its convolutions quantized to 8 bits as it is opened.

No image is needed for that: only weights become codes. Networks with linear layers or attention, whose inputs are
quantized too, need calibration images and are refused.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from pathlib import Path

from compsrt_plugin import register
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import is_packed
from compsrt_plugin.packed.download import file_sha256
from compsrt_plugin.quant import activation_quantizers, calibrate, freeze, quantized_layers
from compsrt_plugin.quant.layers import QuantPointwise
from compsrt_plugin.terminal import log_from
from compsrt_plugin.upscale.open_network import CHANNELS, OpenNetwork, network_for, take_threads

BITS = 8


def open_file(path: Path, threads: int | None = None) -> OpenNetwork:
    """Open a packed file, or a weight file that others published.

    Args:
        path: the file.
        threads: threads of one forward pass; None uses all cores.

    Raises:
        CompSRTError: the file is neither, or its network cannot be used.
    """
    return (network_for if is_packed(path) else network_of_weights)(path, threads)


def network_of_weights(path: Path, threads: int | None = None) -> OpenNetwork:
    """Open a weight file that spandrel reads, with 8-bit weights of its convolutions. PyTorch runs it.

    1x1 convolutions that would be quantized as linear layers stay in full precision.

    Args:
        path: of an ESRGAN, Compact, SPAN or another network of convolutions.
        threads: threads of one forward pass; None uses all cores.

    Raises:
        CompSRTError: the file cannot be read, or its network does not take RGB or needs calibration images.
    """
    register()
    from basicsr.utils.registry import ARCH_REGISTRY

    network = ARCH_REGISTRY.get("CompSRTNet")(base={"file": str(path)}).eval()
    if network.channels != CHANNELS:
        raise CompSRTError(f"{path} takes images of {network.channels} channels", allowed=f"{CHANNELS}: RGB")
    spec = resolve({"bits": BITS}).spec
    trial = copy.deepcopy(network)
    with log_from(logging.ERROR):  # the log of what is quantized is not shown here
        trial.quantize(spec)
    pointwise = [name for name, layer in quantized_layers(trial) if isinstance(layer, QuantPointwise)]
    if activation_quantizers(trial).keys() - {f"{name}.input" for name in pointwise}:
        kind = network.arch["base"]["class"]
        raise CompSRTError(
            f"{path} is a {kind}, whose inputs of linear layers must be calibrated on images",
            allowed="a packed file, or weights of a network of convolutions such as ESRGAN, Compact or SPAN",
            hint=f"quantize it first, in Python: compsrt_plugin.quantize('{path}', 'IMAGES')",
        )
    with log_from(logging.ERROR):
        network.quantize(dataclasses.replace(spec, overrides={name: {"keep": True} for name in pointwise}))
    calibrate(network, ())
    freeze(network)
    take_threads(threads)
    return OpenNetwork(
        run=network,
        path=path,
        sha256=file_sha256(path),
        scale=network.scale,
        bits=BITS,
        window=network.window_size,
        engine=False,
        why_not="the engine runs linear layers and attention, and this network has convolutions alone",
    )
