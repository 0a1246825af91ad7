"""Print which share of foreign networks is quantized, and how small they get, at their published sizes.

    python benchmarks/zoo.py [NAME …] [--bits 4 3 2] [--tested RESULTS.json=CHECKPOINT …]

A Markdown table with a row per network and width: PSNR on Set5 where the results of a test are given, else "random
weights"; the shares of multiply-adds with both operands, the weights only, or neither quantized; bytes of the packed
file, and the ratio to 4 bytes per parameter. Random weights compress worse than trained ones. Their bounds are searched
on one small noise image: neither shares nor codes of weights depend on it. Needs the extra `zoo`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch

import compsrt_plugin
from compsrt_plugin.cli.report import report_on
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.packed.network_state import round_unquantized, save_network
from compsrt_plugin.quant import calibrate
from compsrt_plugin.report.results_file import read_results

LIGHT = {"upscale": 4, "upsampler": "pixelshuffledirect"}
SIX = {"depths": [6] * 6, "num_heads": [6] * 6}
SPANDREL: dict[str, dict[str, Any]] = {
    "HAT": {"embed_dim": 180, **SIX, "window_size": 16, "squeeze_factor": 30, "mlp_ratio": 2.0, "upscale": 4},
    "DAT": {"embed_dim": 60, "depth": [18], "num_heads": [6], "expansion_factor": 2.0, "split_size": [8, 32], **LIGHT},
    "SRFormer": {"embed_dim": 60, "window_size": 16, "mlp_ratio": 2.0, **LIGHT},
    "Swin2SR": {"embed_dim": 180, **SIX, "window_size": 8, "mlp_ratio": 2.0, "upscale": 4, "upsampler": "pixelshuffle"},
    "DRCT": {"embed_dim": 180, **SIX, "window_size": 16, "upscale": 4, "upsampler": "pixelshuffle"},
    "OmniSR": {"num_feat": 64, "res_num": 5, "up_scale": 4},
    "ATD": {"embed_dim": 48, "num_heads": [4] * 4, "window_size": 16, "category_size": 128, "num_tokens": 64,
            "reducted_dim": 8, "convffn_kernel_size": 7, "mlp_ratio": 1.0, **LIGHT},
    "RGT": {"embed_dim": 180, "depth": [6] * 8, "num_heads": [6] * 8, "mlp_ratio": 2.0, "split_size": [8, 32],
            "upscale": 4},
    "CRAFT": {},
}  # fmt: skip
BASICSR: dict[str, dict[str, Any]] = {
    "SwinIR": {"upscale": 4, "img_size": 64, "window_size": 8, "img_range": 1.0, "embed_dim": 180, **SIX,
               "mlp_ratio": 2, "upsampler": "pixelshuffle", "resi_connection": "1conv"},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 256, "num_block": 32, "upscale": 4, "res_scale": 0.1},
    "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_group": 10, "num_block": 20, "upscale": 4},
    "MambaIRv2Light": {"upscale": 4},
}  # fmt: skip

WINDOWS = {"multiple_of": 16, "minimum": 16}
SIZES = {"EDSR": {}, "RCAN": {}, "DAT": {"multiple_of": 32, "minimum": 32}, "RGT": {"multiple_of": 32, "minimum": 32}}


def base_of(name: str) -> dict[str, Any]:
    """Return the `base:` block of a network."""
    if name in BASICSR:
        return {"type": name, **BASICSR[name]}
    package = "spandrel_extra_arches" if name == "SRFormer" else "spandrel"
    importlib.import_module(f"{package}.architectures.{name}")
    return {"spandrel": name, "class": name, "arguments": SPANDREL[name]}


def measure(name: str, bits: int, folder: Path) -> str:
    """Quantize a network with random weights, pack it, and return its row."""
    return row(name, bits, "random weights", packed(name, bits, folder))


def packed(name: str, bits: int, folder: Path) -> Path:
    """Quantize a network with random weights and pack it."""
    from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet

    torch.manual_seed(0)
    network = CompSRTNet(base=base_of(name), upscale=4, size=SIZES.get(name, WINDOWS)).eval()
    options = resolve({"recipe": "plus", "bits": bits})
    network.quantize(options.spec)
    calibrate(network, [torch.rand(1, 3, *network.size_rule.fit(16, 16))])
    round_unquantized(network)
    provenance = {"bits": bits, "recipe": "plus", "weights_trained": False}
    header = {"arch": {"type": "CompSRTNet", **network.arch}, "spec": options.spec.to_dict(), "provenance": provenance}
    path = folder / f"{name}.safetensors"
    save_network(path, network, header)
    return path


def row(name: str, bits: int, psnr: str, path: Path) -> str:
    """Return a row of the table for a packed file."""
    account, _ = report_on(path)
    shares = account.shares
    ratio = account.float_bytes / account.bytes
    quantized = [f"{shares[operands]:.1%}" for operands in ("both", "weights", "neither")]
    cells = [name, f"{account.parameters / 1e6:.2f} M", f"{bits}", psnr, *quantized, f"{account.bytes:,}"]
    return f"| {' | '.join([*cells, f'{ratio:.2f}'])} |"


def tested(pair: str) -> str:
    """Return the row of a network that was calibrated and tested."""
    results, _, checkpoint = pair.partition("=")
    found = read_results(results)
    mean = found.datasets["Set5"].mean
    told = f"{mean.quantized.psnr:.2f} dB"
    if mean.teacher is not None:
        told += f" ({mean.quantized.psnr - mean.teacher.psnr:+.2f})"
    return row(found.name, found.bits, told, Path(checkpoint))


def main() -> None:
    """Print the table, row by row."""
    names = [*SPANDREL, *BASICSR]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--bits", type=int, nargs="+", default=[4], choices=[2, 3, 4])
    parser.add_argument("--tested", nargs="+", default=[], metavar="RESULTS.json=CHECKPOINT")
    args = parser.parse_args()
    compsrt_plugin.register()
    print("| network | parameters | bits | PSNR, Set5 | both quantized | weights only | neither | bytes | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for pair in args.tested:
        print(tested(pair), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or (names if not args.tested else ()):
            for bits in args.bits:
                print(measure(name, bits, Path(folder)), flush=True)
                gc.collect()


if __name__ == "__main__":
    main()
