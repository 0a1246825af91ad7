"""Networks as ONNX files in ONNX Runtime, and the same in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_networks import ARCH
from torch import nn

from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.inference.padding import pad_to_windows
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed.network_state import round_unquantized, save_network
from compsrt_plugin.packed.open import PackedNetwork, open_packed
from compsrt_plugin.pruning import prune
from compsrt_plugin.quant import calibrate


def images(count: int, height: int, width: int) -> torch.Tensor:
    """Return smooth images of 8-bit values, (count, 3, height, width)."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(height))
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return smooth.clamp(0, 1).mul(255).round().div(255)


def simulated(network: nn.Module, lq: torch.Tensor, scale: int) -> torch.Tensor:
    """Return what PyTorch makes of images of any size."""
    with torch.no_grad():
        return network(pad_to_windows(lq, 8, "reflect"))[..., : scale * lq.shape[2], : scale * lq.shape[3]]


def grey_levels(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return an image as whole grey levels."""
    return np.round(np.clip(np.asarray(image), 0, 1) * 255)


def session(path: Path):
    """Return ONNX Runtime's session of a valid file."""
    import onnx
    import onnxruntime as runtime

    onnx.checker.check_model(str(path), full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def exported(source: PackedNetwork, folder: Path, kind: str):
    """Return ONNX Runtime's session of the network's file."""
    export_onnx(folder / "net.onnx", source, kind)
    return session(folder / "net.onnx")


def run(session: Any, image: torch.Tensor) -> np.ndarray:
    """Return what a session of ONNX Runtime makes of an image."""
    return session.run(None, {"input": image.numpy()})[0]


def network(
    recipe: str = "compsrt", bits: int = 3, pruning: dict | None = None, quant: dict | None = None, **arch: Any
) -> CompSRTSwinIR:
    """Return a calibrated network of two Swin blocks whose output depends on the image."""
    torch.manual_seed(0)
    spec = resolve({"recipe": recipe, "bits": bits, **(quant or {})}).spec
    built = CompSRTSwinIR(**{**ARCH, **arch}, quant=spec).eval()
    with torch.no_grad():
        built.conv_first.weight.mul_(3)
    batch = images(1, 16, 16)[:, : arch.get("in_chans", 3)]
    if pruning:
        prune(built, batches=[batch], **pruning)
    calibrate(built, [batch])
    round_unquantized(built)
    return built


def packed(built: CompSRTSwinIR, folder: Path, **arch: Any) -> PackedNetwork:
    """Return the network as it comes out of its packed file."""
    assert built.quant is not None
    provenance = {"bits": built.quant.weight.bits, "recipe": "compsrt", "weights_trained": False}
    arch = {"type": "CompSRTSwinIR", **ARCH, **arch}
    save_network(
        folder / "net.safetensors", built, {"arch": arch, "spec": built.quant.to_dict(), "provenance": provenance}
    )
    return open_packed(folder / "net.safetensors")


def packed_foreign(base: dict[str, Any], folder: Path) -> PackedNetwork:
    """Return a network that `CompSRTNet` wraps, quantized at 4 bits, as it comes out of its packed file."""
    torch.manual_seed(0)
    built = CompSRTNet(base=base).eval()
    spec = resolve({"recipe": "plus", "bits": 4}).spec
    built.quantize(spec)
    calibrate(built, [images(1, *built.size_rule.fit(32, 32))])
    round_unquantized(built)
    provenance = {"bits": 4, "recipe": "plus", "weights_trained": False}
    header = {"arch": {"type": "CompSRTNet", **built.arch}, "spec": spec.to_dict(), "provenance": provenance}
    save_network(folder / "net.safetensors", built, header)
    return open_packed(folder / "net.safetensors")
