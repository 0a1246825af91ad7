"""Measure packed networks as ONNX in ONNX Runtime and OpenVINO, beside PyTorch and the engine: time, PSNR on Set5.

    COMPSRT_DATA=… python benchmarks/onnx_kinds.py FILE… [--results benchmarks/results/onnx] [--rounds 7]

All ways take turns on one thread, on one image of 64×64; the process's own processor time is counted. Both runtimes
compute floats in 32 bits. Writes a result file per network, which `make results` reads. OpenVINO is omitted where it is
not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import compsrt_plugin

compsrt_plugin.register()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from basicsr.metrics import calculate_psnr  # noqa: E402
from engine import in_turns, noise  # noqa: E402  (needs the repairs of `register`)
from engine_ways import quantized_ways  # noqa: E402
from latency import processor, runtime_versions  # noqa: E402

from compsrt_plugin.analysis.profile.runtimes import RUNTIMES, not_installed  # noqa: E402
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR  # noqa: E402
from compsrt_plugin.data.images import images_in, read_image  # noqa: E402
from compsrt_plugin.files import write_whole  # noqa: E402
from compsrt_plugin.onnx import KINDS, export_onnx  # noqa: E402
from compsrt_plugin.packed.open import PackedNetwork, decoded_network, open_packed  # noqa: E402
from compsrt_plugin.report import FileRecord  # noqa: E402
from compsrt_plugin.report.versions import versions  # noqa: E402

SIDE = 64
Run = Callable[[np.ndarray], np.ndarray]


def psnr(run: Run, scale: int, folder: Path) -> float:
    """Return the mean PSNR on Set5: Y channel, border = scale."""
    scores = []
    for file in images_in(folder / "HR"):
        lq = read_image(folder / "LR_bicubic" / f"X{scale}" / f"{file.stem}x{scale}.png")
        output = run(np.ascontiguousarray(lq[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255)
        image = np.round(output[0].clip(0, 1).transpose(1, 2, 0)[..., ::-1] * 255)
        truth = read_image(file)[: image.shape[0], : image.shape[1]]
        scores.append(calculate_psnr(image, truth, crop_border=scale, test_y_channel=True))
    return statistics.mean(scores)


def runner(name: str, model: bytes) -> Run:
    """Return what runs a model on an image of any size."""
    if name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {session.get_inputs()[0].name: image})[0]
    import openvino  # pyright: ignore[reportMissingImports]  (optional)

    hints = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(model), "CPU", hints)
    return lambda image: compiled(image)[0]


def measure(file: Path, data: Path, rounds: int) -> dict[str, Any]:
    """Return bytes, milliseconds and PSNR of every kind in every runtime, as JSON holds them."""
    source = open_packed(file)
    models = exported(source)
    tensor = noise(SIDE, SIDE, 8)
    x = tensor.numpy()
    found: dict[str, Any] = {kind: {"bytes": len(model)} for kind, model in models.items()}
    eager = decoded_network(source)
    calls: dict[Any, Callable[[], object]] = {"eager": lambda: eager(tensor)}
    calls |= {way.label.partition(",")[0]: way.ready(tensor) for way in quantized_ways(source, 1)}
    for runtime in RUNTIMES:
        if not_installed(runtime) is not None:
            continue
        for kind, model in models.items():
            run = runner(runtime, model)
            found[kind][runtime] = {"psnr": psnr(run, source.header.scale, data)}
            calls[kind, runtime] = lambda run=run: run(x)
    times = in_turns(calls, argparse.Namespace(repeats=rounds, cpu_seconds=True))
    in_python: dict[str, float] = {}
    for name, spent in times.items():
        milliseconds = statistics.median(spent) * 1e3
        if isinstance(name, str):
            in_python[name] = milliseconds
        else:
            found[name[0]][name[1]]["ms"] = milliseconds
    return {
        "name": file.stem,
        "sha256": FileRecord.of(file).sha256,
        "command": shlex.join(["python", "benchmarks/onnx_kinds.py", file.name]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": {**versions(), **runtime_versions()},
        "processor": processor(),
        "rounds": rounds,
        "kinds": found,
        "in_python_ms": in_python,
    }


def exported(source: PackedNetwork) -> dict[str, bytes]:
    """Return the file of every kind that the network has."""
    written_out = isinstance(source.network, CompSRTSwinIR)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        found = {}
        for kind in KINDS:
            if kind != "exact" or written_out:
                export_onnx(path, source, kind)
                found[kind] = path.read_bytes()
    return found


def main() -> None:
    """Measure each file and write NAME.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "onnx")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for file in args.files:
        found = measure(file, Path(os.environ["COMPSRT_DATA"], "Set5"), args.rounds)
        write_whole(args.results / f"{file.stem}.json", json.dumps(found, indent=1).encode() + b"\n")
        print(file.stem, json.dumps(found["kinds"]), flush=True)


if __name__ == "__main__":
    main()
