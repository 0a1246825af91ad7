"""Run OpenVINO at 8 bits: the full-precision SwinIR, quantized after training by NNCF, at any image size.

Both exporters freeze the shift masks at the size that they traced. Here the graph computes the masks, so that one
quantized network is timed at every size and judged on whole images. At a fixed size OpenVINO folds them away.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from basicsr.archs.swinir_arch import SwinTransformerBlock
from torch import Tensor, nn

from compsrt_plugin.analysis.profile.runtimes import exported

PRESETS = ("mixed", "transformer")
NEEDED = ("onnx", "openvino", "nncf")
SIDE = 64  # of the calibration images


def lacking() -> str | None:
    """Return how to install what is missing; None if nothing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"not installed: pip install {' '.join(missing)}" if missing else None


class _AnySize(nn.Module):
    """Window attention that computes its shift mask from the size of its block's input."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attention, self.window, self.shift = block.attn, block.window_size, block.shift_size
        self.size: Any = None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend; the given mask has a fixed size and is not used."""
        if not self.shift:
            return self.attention(x)
        bands = []
        for side in self.size:
            index = torch.arange(side)
            bands.append((index >= side - self.window).long() + (index >= side - self.shift).long())
        region = bands[0].unsqueeze(1) * 3 + bands[1].unsqueeze(0)
        height, width = self.size
        window = self.window
        region = region.view(height // window, window, width // window, window).permute(0, 2, 1, 3)
        region = region.reshape(-1, window * window)
        together = region.unsqueeze(1) == region.unsqueeze(2)
        return self.attention(x, mask=torch.where(together, 0.0, -100.0))


def any_size(network: nn.Module) -> bytes:
    """Return a full-precision SwinIR as ONNX for one image of any whole windows."""
    network = copy.deepcopy(network)
    for block in network.modules():
        if isinstance(block, SwinTransformerBlock):
            block.attn = _AnySize(block)
            block.register_forward_pre_hook(lambda block, given: setattr(block.attn, "size", given[1]))
    return exported(network, torch.rand(1, 3, SIDE, SIDE), dynamic=True)


def read(model: bytes) -> Any:
    """Return OpenVINO's model."""
    import openvino  # pyright: ignore[reportMissingImports]  (optional)

    return openvino.Core().read_model(io.BytesIO(model))


def quantized(model: bytes, images: list[Tensor], preset: str) -> Any:
    """Return OpenVINO's model at 8 bits.

    Args:
        model: of `any_size`.
        images: images (1, 3, h, w) for calibration, of whole windows.
        preset: `mixed` (asymmetric activations, symmetric weights), or `transformer`, which adds SmoothQuant and
            omits what harms transformers.
    """
    import nncf  # pyright: ignore[reportMissingImports]  (optional)

    nncf.set_log_level(logging.ERROR)
    given = {
        "mixed": {"preset": nncf.QuantizationPreset.MIXED},
        "transformer": {"model_type": nncf.ModelType.TRANSFORMER},
    }[preset]
    data = nncf.Dataset([image.numpy() for image in images])
    return nncf.quantize(read(model), data, subset_size=len(images), **given)


def _compiled(model: Any, threads: int, **options: Any) -> Any:
    import openvino  # pyright: ignore[reportMissingImports]  (optional)

    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(model, "CPU", {**hints, **options}).create_infer_request()


def _at(model: Any, x: Tensor) -> Any:
    model = model.clone()
    model.reshape({0: list(x.shape)})
    return model


def ready(model: Any, x: Tensor, threads: int) -> Callable[[], object]:
    """Return what runs the model on x, compiled for x's size."""
    request, feed = _compiled(_at(model, x), threads), {0: x.numpy()}
    return lambda: request.infer(feed)


def as_network(model: Any, threads: int) -> Callable[[Tensor], Tensor]:
    """Return the model as a network for images of any number of whole windows."""
    request = _compiled(model, threads)
    return lambda x: torch.from_numpy(request.infer({0: x.numpy()})[0].copy())


def kernels(model: Any, x: Tensor, threads: int) -> dict[str, float]:
    """Return the share of time that each kind of OpenVINO's kernels takes on x, most first.

    Their names contain instruction set and number format: `brgemm_avx512_I8`, `jit_avx2_f32`.
    """
    request = _compiled(_at(model, x), threads, PERF_COUNT=True)
    for _ in range(2):
        request.infer({0: x.numpy()})
    found: Counter[str] = Counter()
    for node in request.get_profiling_info():
        found[node.exec_type] += node.real_time.total_seconds()
    total = sum(found.values())
    return {name: spent / total for name, spent in found.most_common() if spent}
