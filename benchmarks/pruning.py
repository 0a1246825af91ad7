"""Compare pruning criteria on held-out images, with bounds searched and nothing trained.

    python benchmarks/pruning.py HR_FOLDER [--recipe plus] [--json FILE] [--patches 8] [--statistics 4]

Statistics come from the centres of training images, PSNR from those of held-out ones. Activations stay in full
precision: their rounding amplifies every difference before it and would hide the loss of the weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from held_out import judge, patches, teacher

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.pruning import prune
from compsrt_plugin.quant import Mode, calibrate, quantized_layers, set_mode
from compsrt_plugin.quant.calibrate import weight_bounds

CRITERIA: dict[str, dict[str, Any]] = {
    "magnitude": {"hook": "magnitude"},
    "wanda": {"hook": "wanda"},
    "wanda, per row": {"hook": "wanda", "options": {"per": "row"}},
    "magnitude, compensate": {"hook": "magnitude", "compensate": True},
    "wanda, compensate": {"hook": "wanda", "compensate": True},
    "wanda, per row, compensate": {"hook": "wanda", "options": {"per": "row"}, "compensate": True},
}
RATIOS = (0.4, 0.5)


def main() -> None:
    """Print a line per criterion, ratio and width; write all figures as JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="HR_FOLDER")
    parser.add_argument("--recipe", default="plus")
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--patches", type=int, default=8, help="held-out images to judge on")
    parser.add_argument("--statistics", type=int, default=4, help="training images for statistics")
    parser.add_argument("--activations", action="store_true", help="also judge with quantized activations")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    batches = [lq for lq, _ in patches(args.folder, "train", args.statistics)]
    pairs = patches(args.folder, "holdout", args.patches)
    full = teacher()
    with torch.no_grad():
        reference = [full(lq) for lq, _ in pairs]
    rows: list[dict[str, Any]] = []
    print("PSNR to the ground truth and to the teacher, activations in full precision; with --activations quantized")
    for bits in args.bits:
        runs = [("not pruned", 0.0, None), *((name, ratio, c) for ratio in RATIOS for name, c in CRITERIA.items())]
        for name, ratio, criterion in runs:
            began = time.process_time()
            network = copy.deepcopy(full)
            network.quantize(resolve({"recipe": args.recipe, "bits": bits}).spec)
            if criterion is not None:
                prune(network, ratio=ratio, batches=batches, **criterion)
            row: dict[str, Any] = {"criterion": name, "ratio": ratio, "bits": bits}
            if args.activations:
                calibrate(network, batches)
                row["all"] = judge(network, pairs, reference)
            only_weights(network)
            row["weights"] = judge(network, pairs, reference)
            row["seconds"] = time.process_time() - began
            rows.append(row)
            figures = [row[judged][to] for judged in ("weights", "all") if judged in row for to in ("gt", "teacher")]
            print(f"{name:28s}{ratio:6.0%}{bits:3d} bits" + "".join(f"{figure:10.3f}" for figure in figures))
            sys.stdout.flush()
    if args.json:
        result = {"recipe": args.recipe, "patches": args.patches, "statistics": args.statistics, "rows": rows}
        result["teacher_gt"] = judge(full, pairs, None)["gt"]
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def only_weights(network: CompSRTSwinIR) -> None:
    """Search the bounds of weights and quantize only them."""
    set_mode(network, Mode.OFF)
    with torch.no_grad():
        for _, layer in quantized_layers(network):
            layer.weight_quantizer.set_bounds(*weight_bounds(layer))
            layer.weight_quantizer.mode = Mode.ON


if __name__ == "__main__":
    main()
