"""Ways to run SwinIR-light that are timed beside the engine, each with a network to judge whole images with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import openvino_int8
import torch
from held_out import SCALE, patches
from torch import Tensor, nn

from compsrt_plugin.analysis.profile.runtimes import RUNTIMES, models_of, not_installed, runtime_way
from compsrt_plugin.engine import Engine
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.packed.open import PackedNetwork, decoded_network

Call = Callable[[], object]
KERNELS = 0.02  # least share of OpenVINO's time for which a kind of kernel is named


@dataclass(frozen=True)
class Way:
    """A way to run a network.

    Attributes:
        label: for the tables.
        ready: takes x (1, 3, h, w) and returns a prepared function that runs the network on it.
        network: takes images of any number of whole windows; None where only x's size runs.
    """

    label: str
    ready: Callable[[Tensor], Call]
    network: Callable[[Tensor], Tensor] | None


def _in_python(label: str, network: Callable[[Tensor], Tensor]) -> Way:
    return Way(label, lambda x: partial(network, x), network)


def quantized_ways(source: PackedNetwork, threads: int) -> list[Way]:
    """Return the simulated network, and the engine on one and on all threads, last."""
    engines = {count: Engine(source, threads=count) for count in sorted({1, threads})}
    return [
        _in_python("simulated", source.network),
        *(_in_python(f"engine, {count} threads", engine) for count, engine in engines.items()),
    ]


def full_precision_ways(source: PackedNetwork, threads: int, calibration: Path | None, count: int) -> list[Way]:
    """Return the ways to run the network in full precision; print what is missing and how to get it.

    A SwinIR-light has the weights of the bundled teacher of its scale. Other networks have their decoded weights and
    run in PyTorch only.

    Args:
        source: a packed network.
        threads: of each runtime; the caller sets PyTorch's.
        calibration: folder of training images for OpenVINO at 8 bits.
        count: how many of them.
    """
    teacher = decoded_network(source)
    if source.header.arch["type"] != "CompSRTSwinIR":
        return [_in_python("PyTorch eager fp32", teacher)]
    teacher.load_state_dict(load_weights(teacher_path(source.header.scale)))
    ways = [_in_python("PyTorch eager fp32", teacher)]
    models = models_of(teacher)
    for name in RUNTIMES:
        why_not = not_installed(name)
        if why_not is None:
            way = runtime_way(name, models)
            ways.append(Way(way.label, lambda x, way=way: way.ready(x, threads), None))
        else:
            print(f"{name} is omitted: {why_not}")
    why_not = openvino_int8.lacking()
    if why_not is None and calibration is not None and source.header.scale == SCALE:
        return ways + _openvino_ways(teacher, threads, calibration, count)
    print(f"OpenVINO at 8 bits is omitted: {why_not or f'it needs --calibration FOLDER, and a network of x{SCALE}'}")
    return ways


def _openvino_ways(teacher: nn.Module, threads: int, calibration: Path, count: int) -> list[Way]:
    """Return OpenVINO on a network of any size, in fp32 and at 8 bits by each preset."""
    onnx = openvino_int8.any_size(teacher)
    models = {"OpenVINO fp32, any size": openvino_int8.read(onnx)}
    lqs = [lq for lq, _ in patches(calibration, "train", count, openvino_int8.SIDE)]
    for preset in openvino_int8.PRESETS:
        began = time.process_time()
        try:
            models[f"OpenVINO int8, {preset}"] = openvino_int8.quantized(onnx, lqs, preset)
        except Exception as error:  # a foreign library may raise anything
            print(f"NNCF, {preset}: {type(error).__name__}: {str(error)[:200]}")
            continue
        spent = time.process_time() - began
        print(f"NNCF, {preset}: {count} images of {calibration.name}, {spent:.0f} s of processor time", flush=True)
    probe = torch.rand(1, 3, openvino_int8.SIDE, openvino_int8.SIDE)
    for label, model in models.items():
        shares = openvino_int8.kernels(model, probe, threads).items()
        print(f"{label}: {', '.join(f'{name} {share:.0%}' for name, share in shares if share >= KERNELS)}", flush=True)
    return [
        Way(
            label,
            lambda x, model=model: openvino_int8.ready(model, x, threads),
            openvino_int8.as_network(model, threads),
        )
        for label, model in models.items()
    ]
