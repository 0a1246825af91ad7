"""Measure what the packed file's roundings cost on held-out images, and what they save.

    python benchmarks/rounding.py HR_FOLDER [--patches 8] [--bits 2 4]

Tables, biases and norms are rounded in the full-precision network, bounds of weights in one whose activations are not
quantized. Where no activation is rounded, the smallest change is visible without noise.
"""

from __future__ import annotations

import argparse
import copy
import lzma
from collections.abc import Iterable
from pathlib import Path

import torch
from held_out import judge, patches, teacher
from torch import Tensor, nn

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.packed.coding import FILTERS
from compsrt_plugin.packed.network_state import POSITION_TABLE, round_mantissa, round_table
from compsrt_plugin.quant import Mode, named_quantizers, quantized_layers
from compsrt_plugin.quant.calibrate import weight_bounds

Pairs = list[tuple[Tensor, Tensor]]


def main() -> None:
    """Print a line for each rounding: the change of PSNR in dB, and the compressed bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="HR_FOLDER")
    parser.add_argument("--patches", type=int, default=8)
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 4])
    args = parser.parse_args()
    torch.set_num_threads(1)
    pairs = patches(args.folder, "holdout", args.patches)
    full = teacher()
    before = judge(full, pairs, None)["gt"]
    print(f"full precision {before:.5f} dB on {args.patches} held-out patches")
    for bits in (8, 7, 6, 5):
        network = copy.deepcopy(full)
        tables = [p for name, p in network.named_parameters() if name.endswith(POSITION_TABLE)]
        change(tables, [round_table(p, bits) for p in tables])
        told(f"position tables, {bits} bits", network, pairs, before, tables)
    for bits in (11, 9, 8, 7, 6):
        network = copy.deepcopy(full)
        small = [p for n, p in network.named_parameters() if p.ndim == 1]
        change(small, [round_mantissa(p, bits) for p in small])
        told(f"biases and norms, {bits} bits", network, pairs, before, small)
    for width in args.bits:
        plain = copy.deepcopy(full)
        plain.quantize(resolve({"recipe": "plus", "bits": width}).spec)
        for _, layer in quantized_layers(plain):
            layer.weight_quantizer.set_bounds(*weight_bounds(layer))
            layer.weight_quantizer.mode = Mode.ON
        before = judge(plain, pairs, None)["gt"]
        for bits in (11, 9, 8, 7, 6):
            network = copy.deepcopy(plain)
            bounds = [p for p in bounds_of_rows(network)]
            change(bounds, [round_mantissa(p, bits) for p in bounds])
            told(f"bounds of {width}-bit weights, {bits} bits", network, pairs, before, bounds)


def bounds_of_rows(network: CompSRTSwinIR) -> Iterable[Tensor]:
    """Yield l and u of every per-channel weight."""
    for _, quantizer in named_quantizers(network):
        if quantizer.spec.granularity == "per_channel":
            yield quantizer.lower
            yield quantizer.upper


def change(parameters: list[Tensor], values: list[Tensor]) -> None:
    """Replace parameters by values."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values):
            parameter.copy_(value)


def told(what: str, network: nn.Module, pairs: Pairs, before: float, of: list[Tensor]) -> None:
    """Print a line."""
    halves = torch.cat([p.detach().half().flatten() for p in of])
    planes = halves.view(torch.uint8).reshape(-1, 2).T.contiguous().numpy().tobytes()
    size = len(lzma.compress(planes, lzma.FORMAT_RAW, filters=FILTERS))
    print(f"{what:34s}{judge(network, pairs, None)['gt'] - before:+10.5f} dB{size:10,d} bytes", flush=True)


if __name__ == "__main__":
    main()
