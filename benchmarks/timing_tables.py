"""Markdown tables of measured times: latency, engine, ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from results_tables import Table, table


def latency_table(found: Sequence[dict[str, Any]]) -> Table:
    """Return the processor time of each way to run each network, and how many times faster than eager the engine is."""
    labels = max((list(one["processor_ms"]) for one in found), key=len)
    rows = []
    for one in found:
        spent = one["processor_ms"]
        faster = f"{spent[labels[0]] / spent[labels[-1]]:.1f}"
        rows.append(
            [f"`{one['name']}`", *(f"{spent[label]:.0f}" if label in spent else "" for label in labels), faster]
        )
    return table(["network", *labels, "eager / engine"], rows)


def engine_table(found: Sequence[dict[str, Any]]) -> Table:
    """Return time, growth and memory of the engine and of PyTorch for each network.

    Args:
        found: what `engine_networks.py` wrote.
    """
    heads = [
        "network",
        "eager",
        "simulated",
        "engine",
        "eager / engine",
        "first image",
        "128² by pixel",
        "256² by pixel",
    ]
    heads += ["peak MiB, eager", "peak MiB, engine"]
    rows = []
    for one in sorted(found, key=lambda one: one["one_thread_ms"]["engine"] / one["one_thread_ms"]["eager"]):
        spent, growth, peak = one["one_thread_ms"], one.get("growth_ms"), one.get("peak_bytes")
        cells = [one["name"] + (", one group" if one["one_group"] else "")]
        cells += [f"{spent[way]:,.0f}" for way in ("eager", "simulated", "engine")]
        cells.append(f"{spent['eager'] / spent['engine']:.2f}")
        if growth and peak:
            per_pixel = [growth[side] / int(side) ** 2 for side in sorted(growth, key=int)]
            cells += [f"{one['first_image_ms']:,.0f}", *(f"{share / per_pixel[0]:.2f}" for share in per_pixel[1:])]
            cells += [f"{peak[way] / 2**20:,.0f}" for way in ("eager", "engine")]
        rows.append([*cells, *[""] * (len(heads) - len(cells))])
    return table(heads, rows)


def onnx_table(found: Sequence[dict[str, Any]], fp32: Mapping[str, float | None]) -> Table:
    """Return bytes, time and PSNR of every kind of ONNX file in every runtime.

    Args:
        found: what `onnx_kinds.py` wrote.
        fp32: PSNR of each full-precision network, by the name of the quantized one.
    """
    rows = []
    for one in found:
        for kind, of_kind in one["kinds"].items():
            cells = [f"`{one['name']}`", kind, f"{of_kind['bytes']:,}"]
            for runtime in ("onnxruntime", "openvino"):
                time, floats = (one["kinds"][name].get(runtime) for name in (kind, "float"))
                if time is None or floats is None:
                    cells += ["", "", ""]
                    continue
                cells += [f"{time['ms']:.0f}", f"{floats['ms'] / time['ms']:.2f}", f"{time['psnr']:.2f}"]
            full = fp32.get(one["name"])
            rows.append([*cells, "" if full is None else f"{full:.2f}"])
    heads = [f"{runtime} {what}" for runtime in ("ORT", "OpenVINO") for what in ("ms", "speed", "PSNR")]
    return table(["network", "kind", "bytes", *heads, "full precision PSNR"], rows, left=2)


def engine_beside_onnx(found: Sequence[dict[str, Any]]) -> Table:
    """Return milliseconds of PyTorch, the engine and every kind in every runtime, these as multiples of the engine's.

    Args:
        found: what `onnx_kinds.py` wrote.
    """
    columns = [(runtime, kind) for runtime in ("onnxruntime", "openvino") for kind in ("float", "weights", "int8")]
    rows = []
    for one in found:
        spent = one.get("in_python_ms")
        if spent is None:
            continue
        cells = [f"`{one['name']}`", *(f"{spent[way]:.0f}" for way in ("eager", "simulated", "engine"))]
        for runtime, kind in columns:
            time = one["kinds"].get(kind, {}).get(runtime)
            cells.append("" if time is None else f"{time['ms']:.0f} ({time['ms'] / spent['engine']:.1f})")
        rows.append(cells)
    heads = [f"{runtime} {kind}" for runtime in ("ORT", "OpenVINO") for kind in ("float", "weights", "int8")]
    return table(["network", "eager", "simulated", "engine", *heads], rows)
