"""Quantize published networks by each recipe and width; `recipes.py judge` then judges the files.

    python benchmarks/networks.py --weights DIR --train BSD400 --held-out DIR --out DIR [--networks dat_light_x4 …]
                                  [--recipes plus compsrt minmax] [--bits 4 3 2] [--iterations 0] [--set …]

`--weights` holds the full-precision files: DAT_light_x4.pth, craft_x4.pth, mambairv2_light_x4.pth. `--train` is a
folder of original images; a tenth is held out by a hash of the names. `--held-out` names a folder of images of that
tenth, on which the best iteration is selected. With `--iterations 0`, the default, bounds are searched and nothing is
trained. Each run is `basicsr train` in a process of its own, from an installed option file. It writes
OUT/NETWORK_RECIPE_BITSbit.safetensors (`…_trained_…` with iterations), and its CPU seconds in .json beside it. Files
that exist are skipped, so that the script can be stopped and continued. The bundled networks were trained by longer
runs (docs/notes/bundled_files.md).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from compsrt_plugin.files import write_whole

DAT = {f"dat_light_x{scale}": (f"dat_light_x{scale}_4bit", f"DAT_light_x{scale}.pth") for scale in (2, 3, 4)}
NETWORKS = {
    **DAT,
    "craft_x4": ("dat_light_x4_4bit", "craft_x4.pth"),
    "mambairv2_light_x4": ("compsrt_mambairv2_x4_4bit", "mambairv2_light_x4.pth"),
}
"""Name -> option file and file of the full-precision weights."""


def entries(network: str, recipe: str, bits: int, args: argparse.Namespace) -> list[str]:
    """Return what a run changes in the installed option file, as entries of `--force_yml`."""
    file = NETWORKS[network][1]
    weights = f"path:pretrain_network_g={file}" if network.startswith("mamba") else f"network_g:base:file={file}"
    data = [f"datasets:train:dataroot_gt={args.train}", f"datasets:val:dataroot_gt={args.held_out}"]
    length = [f"train:total_iter={args.iterations}"]
    if args.iterations:
        length += [f"train:scheduler:periods=[{args.iterations}]", f"val:val_freq={max(50, args.iterations // 4)}"]
    # a width of its own for every recipe; the option files of DAT-light give inputs of linear layers 8 bits
    quant = [f"quant:recipe={recipe}", f"quant:bits={bits}", "quant:overrides={}"]
    return [weights, *data, "datasets:val:subset=null", *length, *quant, *args.set]


def run(network: str, recipe: str, bits: int, args: argparse.Namespace) -> bool:
    """Quantize one network in a process of its own; return whether it worked."""
    name = f"{network}_{recipe}{'_trained' if args.iterations else ''}_{bits}bit"
    target = args.out / f"{name}.safetensors"
    if target.is_file():
        print(f"{name}: is there", flush=True)
        return True
    command = [str(Path(sys.executable).with_name("basicsr")), "train", "-opt", NETWORKS[network][0]]
    command += ["--force_yml", f"name={name}", *entries(network, recipe, bits, args)]
    began = _processor_time()
    with open(args.out / f"{name}.log", "wb") as log:  # in the weights' folder, so that headers hold no local path
        code = subprocess.run(command, cwd=args.weights, stdout=log, stderr=log, env=os.environ).returncode
    made = args.weights / "experiments" / name / "models" / f"{name}.safetensors"
    if code == 0:
        content = made.read_bytes()
        write_whole(target, content)
        told = {"sha256": hashlib.sha256(content).hexdigest(), "iterations": args.iterations}
        told["cpu_seconds"] = _processor_time() - began
        write_whole(target.with_suffix(".json"), json.dumps(told).encode() + b"\n")
    print(f"{name}: {'done' if code == 0 else f'FAILED ({code}), see its log'}", flush=True)
    return code == 0


def _processor_time() -> float:
    """Return the CPU seconds of all runs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run what has no file yet; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="folder of the full-precision weights")
    parser.add_argument("--train", required=True, help="folder of training images, relative to --weights")
    parser.add_argument("--held-out", required=True, help="folder of held-out images, relative to --weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of the packed files")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--recipes", nargs="+", default=["plus", "compsrt", "minmax"])
    parser.add_argument("--bits", nargs="+", type=int, default=[4, 3, 2])
    parser.add_argument("--iterations", type=int, default=0, help="0 (default): search bounds only")
    parser.add_argument("--set", nargs="+", default=[], metavar="BLOCK:KEY=VALUE", help="changes to every run")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = [(n, r, b) for n in args.networks for b in args.bits for r in args.recipes]
    return 0 if all([run(*one, args) for one in wanted]) else 1


if __name__ == "__main__":
    sys.exit(main())
