"""Run the full-precision network by ONNX Runtime and OpenVINO (both optional), exported for one input size."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.profile.ways import TimedCall
from compsrt_plugin.errors import CompSRTError

OPSET = 17
RUNTIME_OPERATORS = {
    "products": ("MatMul", "Gemm", "FullyConnected"),
    "softmax": ("Softmax",),
    "norm": ("LayerNormalization", "Normalization", "MVN", "RMSNorm"),
    "gelu": ("Gelu", "Erf"),
    "conv": ("Conv",),
    "copies": (
        "Transpose", "Reshape", "Reorder", "Concat", "Split", "Slice", "Gather", "Squeeze", "DepthToSpace", "Expand",
        "Roll", "Permute", "Pad", "Scatter", "Crop",
    ),
    "elementwise": ("Add", "Mul", "Sub", "Div", "Eltwise", "Subgraph", "Pow", "Sqrt"),
}  # fmt: skip


def exported(network: nn.Module, x: Tensor, dynamic: bool = False) -> bytes:
    """Return the network as ONNX for inputs of the shape of x.

    Args:
        network: in eval mode.
        x: (b, c, h, w).
        dynamic: whether to export for any height and width. What the network derives from them must be computed from
            its input.

    Raises:
        CompSRTError: the export fails.
    """
    buffer = io.BytesIO()
    axes = {"x": {2: "height", 3: "width"}} if dynamic else None
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            # the exporter that needs no additional package
            options = {"input_names": ["x"], "opset_version": OPSET, "dynamo": False, "dynamic_axes": axes}
            torch.onnx.export(network, (x,), buffer, **options)  # pyright: ignore[reportArgumentType]
    except (RuntimeError, torch.onnx.OnnxExporterError, ImportError) as error:
        raise CompSRTError(f"the ONNX export failed: {str(error).splitlines()[0]}") from error
    finally:
        logging.disable(level)
    return buffer.getvalue()


def runtime_stage(operator: str) -> str:
    """Return the stage of an operator of ONNX or OpenVINO, by its name.

    >>> [runtime_stage(name) for name in ("FusedMatMul", "SkipLayerNormalization", "ReorderInput", "Loop")]
    ['products', 'norm', 'copies', 'other']
    """
    # the longest match, because the name of a fused operator ends with its main part
    found = [(len(part), stage) for stage, parts in RUNTIME_OPERATORS.items() for part in parts if part in operator]
    return max(found)[1] if found else "other"


Models = Callable[[Tensor], bytes]
"""Returns the ONNX file for inputs of the shape of x."""


def models_of(network: nn.Module) -> Models:
    """Return a function that exports the network, once per shape."""
    found: dict[tuple[int, ...], bytes] = {}

    def model(x: Tensor) -> bytes:
        shape = tuple(x.shape)
        if shape not in found:
            found[shape] = exported(network, x)
        return found[shape]

    return model


class OnnxRuntimeWay:
    """ONNX Runtime on the CPU, fp32."""

    name, label = "onnxruntime", "ONNX Runtime fp32"

    def __init__(self, models: Models) -> None:
        self._models = models

    def _session(self, x: Tensor, threads: int, profile: str | None = None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile
        return onnxruntime.InferenceSession(self._models(x), options, providers=["CPUExecutionProvider"])

    def ready(self, x: Tensor, threads: int) -> TimedCall:
        """See `Way`."""
        session, feed = self._session(x, threads), {"x": x.numpy()}
        return lambda: session.run(None, feed)

    def stages(self, x: Tensor, threads: int) -> dict[str, float]:
        """See `Way`."""
        found: dict[str, float] = defaultdict(float)
        with tempfile.TemporaryDirectory() as folder:
            session = self._session(x, threads, str(Path(folder, "run")))
            for _ in range(2):
                session.run(None, {"x": x.numpy()})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        for event in events:
            operator = event.get("args", {}).get("op_name")
            if event.get("cat") == "Node" and operator and event["name"].endswith("_kernel_time"):
                found[runtime_stage(operator)] += event["dur"]
        return dict(found)


class OpenVinoWay:
    """OpenVINO on the CPU, fp32."""

    name, label = "openvino", "OpenVINO fp32"

    def __init__(self, models: Models) -> None:
        self._models = models

    def _request(self, x: Tensor, threads: int, **options: Any) -> Any:
        import openvino  # pyright: ignore[reportMissingImports]  (optional)

        core = openvino.Core()
        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = core.read_model(io.BytesIO(self._models(x)))
        return core.compile_model(model, "CPU", {**hints, **options}).create_infer_request()

    def ready(self, x: Tensor, threads: int) -> TimedCall:
        """See `Way`."""
        request, feed = self._request(x, threads), {0: x.numpy()}
        return lambda: request.infer(feed)

    def stages(self, x: Tensor, threads: int) -> dict[str, float]:
        """See `Way`."""
        request = self._request(x, threads, PERF_COUNT=True)
        for _ in range(2):
            request.infer({0: x.numpy()})
        found: dict[str, float] = defaultdict(float)
        for node in request.get_profiling_info():
            found[runtime_stage(node.node_type)] += node.real_time.total_seconds()
        return dict(found)


RUNTIMES: dict[str, type[OnnxRuntimeWay] | type[OpenVinoWay]] = {way.name: way for way in (OnnxRuntimeWay, OpenVinoWay)}


def runtime_way(name: str, models: Models | bytes) -> OnnxRuntimeWay | OpenVinoWay:
    """Return the way of this name for exported models, or for one model that fits all inputs."""
    return RUNTIMES[name]((lambda _: models) if isinstance(models, bytes) else models)


def not_installed(name: str) -> str | None:
    """Return how to install the missing packages of a way, or None."""
    lacking = [package for package in ("onnx", name) if importlib.util.find_spec(package) is None]
    return f"not installed: pip install {' '.join(lacking)}" if lacking else None
