"""A small quantized SwinIR, as `basicsr train` packs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import compsrt_plugin

compsrt_plugin.register()

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.packed.network_state import round_unquantized, save_network  # noqa: E402
from compsrt_plugin.pruning import prune  # noqa: E402
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate  # noqa: E402

ARCH: dict[str, Any] = {"depths": [2], "num_heads": [6], "img_size": 16, "upscale": 4}


def small_network(
    bits: int = 3,
    conv_bits: int | None = 8,
    pruning: dict[str, Any] | None = None,
    conv_input_bits: int | None = None,
    **fields: Any,
):
    """Return a calibrated network of two Swin blocks, pruned if asked to."""
    torch.manual_seed(0)
    weight = QuantSpec(bits, **fields)
    activation = QuantSpec(bits, **{**fields, "granularity": "per_tensor"})
    spec = NetworkSpec(weight, activation, conv_bits, conv_input_bits=conv_input_bits)
    network = CompSRTSwinIR(**ARCH, quant=spec).eval()
    batch = torch.rand(1, 3, 16, 16)
    if pruning is not None:
        prune(network, batches=[batch], **pruning)
    calibrate(network, [batch])
    round_unquantized(network)
    return network


def save(path: Path, network: CompSRTSwinIR, bits: int = 3) -> Path:
    """Write the network as one packed file."""
    assert network.quant is not None
    provenance = {"bits": bits, "recipe": "compsrt", "weights_trained": False}
    header = {"arch": {"type": "CompSRTSwinIR", **ARCH}, "spec": network.quant.to_dict(), "provenance": provenance}
    save_network(path, network, header)
    return path
