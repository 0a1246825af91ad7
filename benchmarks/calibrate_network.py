"""Time the bound search of all quantizers of SwinIR-light x4 beyond its forward passes.

    python benchmarks/calibrate_network.py [--patches 1 32] [--bits 3] [--recipe compsrt]

One run times the full-precision forward passes and `calibrate` on the same patches.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.data import embedded_pairs
from compsrt_plugin.data.images import images_in, read_image
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.quant import Mode, calibrate, named_quantizers, set_mode


def patches(count: int, size: int = 64) -> list[torch.Tensor]:
    """Cut (1, 3, size, size) pieces from the embedded calibration images, in order."""
    pieces = []
    _, lr_dir = embedded_pairs("calibration", 4)
    images = [read_image(path) for path in images_in(lr_dir)]
    for number in range(count):
        image = images[number % len(images)]
        top = 16 * (number // len(images)) % (image.shape[0] - size + 1)
        piece = image[top : top + size, top : top + size, ::-1].copy()
        pieces.append(torch.from_numpy(piece).permute(2, 0, 1).unsqueeze(0) / 255)
    return pieces


def main() -> None:
    """Print the seconds of both and their difference for each number of patches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--bits", type=int, default=3)
    parser.add_argument("--recipe", default="compsrt")
    args = parser.parse_args()
    network = CompSRTSwinIR(upscale=4).eval()
    network.load_state_dict(load_weights(teacher_path(4)))
    network.quantize(resolve({"recipe": args.recipe, "bits": args.bits}).spec)
    quantizers = sum(1 for _ in named_quantizers(network))
    print(f"{quantizers} quantizers, {args.recipe}, {args.bits} bits, {torch.get_num_threads()} threads")
    print(f"{'patches':>8s}{'forward s':>12s}{'calibrate s':>13s}{'on top s':>10s}{'peak MiB':>10s}")
    with torch.no_grad():
        network(patches(1)[0])  # warm-up
        for count in args.patches:
            pieces = patches(count)
            start = time.perf_counter()
            for piece in pieces:
                network(piece)
            forward = time.perf_counter() - start
            start = time.perf_counter()
            calibrate(network, pieces)
            whole = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{count:8d}{forward:12.1f}{whole:13.1f}{whole - forward:10.1f}{peak:10.0f}")
            set_mode(network, Mode.OFF)


if __name__ == "__main__":
    main()
