"""Compare transforms by width: quantization errors of tensors, errors of outputs, and speed.

    python benchmarks/hadamard_orders.py orders [--most 512]
    python benchmarks/hadamard_orders.py tensors --pictures DIR [--file craft_x4.pth]
    python benchmarks/hadamard_orders.py outputs --pictures DIR [--file craft_x4.pth]
    python benchmarks/hadamard_orders.py speed

The network is the bundled SwinIR-light x4 teacher, or the one in a file that spandrel reads. Patches are cut from the
high-resolution training images in DIR: the first ones give the bounds (DOBI), later ones are judged.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.data.images import images_in, read_image
from compsrt_plugin.data.resize import downscale
from compsrt_plugin.packed import load_weights
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES
from compsrt_plugin.quant.quantizer import Quantizer
from compsrt_plugin.quant.transforms import TRANSFORMS as REGISTRY
from compsrt_plugin.quant.transforms.orders import construction

SCALE, BITS = 4, (2, 3, 4)
TRANSFORMS = ("none", "hadamard", "hadamard_signed", "hadamard_exact", "hadamard_block")
ROWS = 2048  # vectors of each layer's input that are used
EVERY = 16  # images from one patch to the next


def main() -> None:
    """Print one of the four tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["orders", "tensors", "outputs", "speed"])
    parser.add_argument("--pictures", type=Path, help="folder of high-resolution training images")
    parser.add_argument("--file", help="weight file that spandrel reads (default: the bundled teacher)")
    parser.add_argument("--patch", type=int, default=64, help="height and width of the low-resolution patches")
    parser.add_argument("--calibration", type=int, default=4, help="patches for the bounds")
    parser.add_argument("--held-out", type=int, default=4, help="patches that are judged")
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4], help="of `outputs`")
    parser.add_argument("--softmax-maps", action="store_true", help="`outputs`: softmax maps take hadamard_softmax")
    parser.add_argument("--most", type=int, default=512)
    args = parser.parse_args()
    if args.table == "orders":
        for order in range(4, args.most + 1, 4):
            print(f"{order:5d}  {construction(order) or '-'}")
    elif args.table == "speed":
        speed()
    else:
        pieces = patches(args.pictures, args.calibration + args.held_out, args.patch)
        found, held_out = pieces[: args.calibration], pieces[args.calibration :]
        if args.table == "tensors":
            tensors(network(args.file), found)
        else:
            overrides = {"*map": {"transform": "hadamard_softmax"}} if args.softmax_maps else {}
            outputs(network(args.file), found, held_out, args.bits, overrides)


def network(file: str | None) -> CompSRTSwinIR | CompSRTNet:
    """Load the bundled teacher, or the network in `file`, in full precision."""
    if file is not None:
        return CompSRTNet(base={"file": file}).eval()
    teacher = CompSRTSwinIR(upscale=SCALE).eval()
    teacher.load_state_dict(load_weights(teacher_path(SCALE)))
    return teacher


def patches(folder: Path, count: int, size: int) -> list[Tensor]:
    """Cut the middle (1, 3, size, size) of every sixteenth image, downscaled."""
    pieces = []
    for path in images_in(folder)[::EVERY][:count]:
        image = read_image(path)
        image = downscale(image[: image.shape[0] // SCALE * SCALE, : image.shape[1] // SCALE * SCALE], SCALE)
        top, left = ((length - size) // 2 for length in image.shape[:2])
        piece = image[top : top + size, left : left + size, ::-1].copy()
        pieces.append(torch.from_numpy(piece).permute(2, 0, 1).unsqueeze(0) / 255)
    return pieces


def tensors(model: nn.Module, found: list[Tensor]) -> None:
    """Print relative errors of linear inputs, weights and their product (all in the domain), by width."""
    inputs: dict[str, list[Tensor]] = defaultdict(list)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.in_features > 8}
    for name, layer in layers.items():
        layer.register_forward_hook(
            lambda module, given, _, name=name: inputs[name].append(given[0].reshape(-1, module.in_features)[::16])
        )
    with torch.no_grad():
        for piece in found:
            model(piece)
    print("geometric means of relative errors: input, weight, product, at each width")
    print(f"{'width':>6s} {'transform':16s}" + "".join(f"{f'{bits} bits':^24s}" for bits in BITS))
    for width in sorted({layer.in_features for layer in layers.values()}):
        names = [name for name, layer in layers.items() if layer.in_features == width]
        for transform in TRANSFORMS:
            columns = []
            for bits in BITS:
                errors = [
                    _errors(torch.cat(inputs[name])[:ROWS], layers[name].weight.detach(), transform, bits)
                    for name in names
                ]
                columns += [statistics.geometric_mean(column) for column in zip(*errors)]
            print(f"{width:6d} {transform:16s}" + "".join(f"{value:8.4f}" for value in columns), flush=True)


def _errors(x: Tensor, weight: Tensor, transform: str, bits: int) -> tuple[float, float, float]:
    forward, inverse = REGISTRY[transform].forward, REGISTRY[transform].inverse
    width, exact = x.shape[1], x @ weight.T
    in_domain = [_quantized(forward(tensor), bits) for tensor in (x, weight)]
    back = [inverse(tensor, width) for tensor in in_domain]
    product = in_domain[0] @ in_domain[1].T
    pairs = [(back[0], x), (back[1], weight), (product, exact)]
    of_input, of_weight, of_product = (((made - true).norm() / true.norm()).item() for made, true in pairs)
    return of_input, of_weight, of_product


def _quantized(x: Tensor, bits: int) -> Tensor:
    samples, quantizer = Samples(), Quantizer(QuantSpec(bits, "none"))
    samples.add(x)
    quantizer.set_bounds(*BOUND_SEARCHES["dobi"](samples, bits))
    with torch.no_grad():
        return quantizer.quantize(x)


def outputs(
    model: CompSRTSwinIR | CompSRTNet, found: list[Tensor], held_out: list[Tensor], widths: list[int], overrides: Any
) -> None:
    """Print the PSNR of quantized outputs to full precision on held-out patches, with bounds searched only."""
    with torch.no_grad():
        true = [model(piece) for piece in held_out]
    print("PSNR in dB of the quantized output against the full-precision one, all three channels")
    print(f"{'transform':16s}" + "".join(f"{f'{bits} bits':>10s}" for bits in widths))
    for transform in TRANSFORMS:
        scores = []
        for bits in widths:
            student, spec = copy.deepcopy(model), QuantSpec(bits, transform)
            student.quantize(NetworkSpec(spec, spec, conv_bits=None, overrides=overrides))
            calibrate(student, found)
            with torch.no_grad():
                errors = [F.mse_loss(student(piece), whole) for piece, whole in zip(held_out, true)]
            scores.append(torch.stack([-10 * error.log10() for error in errors]).mean().item())
        print(f"{transform:16s}" + "".join(f"{score:10.2f}" for score in scores), flush=True)


def speed(rounds: int = 30) -> None:
    """Print the time of transforms by matrix, for widths with a Hadamard matrix of that order, as ratios of one run."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {rounds} interleaved runs")
    print(f"{'width':>6s}{'padded ms':>11s}" + "".join(f"{name[9:]:>10s}" for name in TRANSFORMS[2:]))
    for width in (48, 60, 96, 120, 144, 180, 192):
        x = torch.randn(4096, width)
        times: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for transform in TRANSFORMS[1:]:
                start = time.process_time()  # CPU seconds exclude other programs
                REGISTRY[transform].forward(x)
                times[transform].append(time.process_time() - start)
        padded, *others = (statistics.median(times[transform]) for transform in TRANSFORMS[1:])
        print(f"{width:6d}{1e3 * padded:11.2f}" + "".join(f"{other / padded:9.2f}x" for other in others))
    print("a quantized linear layer to 60 features, forward and backward; the padded one is compiled (`native`)")
    for width in (60, 120):
        x = torch.randn(4096, width)
        layers = {transform: _layer(x, QuantSpec(3, transform)) for transform in TRANSFORMS[1:]}
        times = defaultdict(list)
        for _ in range(rounds):
            for transform, layer in layers.items():
                start = time.process_time()
                layer(x).sum().backward()
                times[transform].append(time.process_time() - start)
        padded, *others = (statistics.median(times[transform]) for transform in TRANSFORMS[1:])
        print(f"{width:6d}{1e3 * padded:11.2f}" + "".join(f"{other / padded:9.2f}x" for other in others))


def _layer(x: Tensor, spec: QuantSpec) -> nn.Module:
    layer = convert(nn.Sequential(nn.Linear(x.shape[1], 60)), NetworkSpec(spec, spec))
    calibrate(layer, [x])
    return layer


if __name__ == "__main__":
    main()
