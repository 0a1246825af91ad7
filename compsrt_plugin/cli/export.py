"""`basicsr export`: write a quantized network as a packed file, as ordinary weights, or as ONNX."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from compsrt_plugin.cli import publishing
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import check_ending, write_whole
from compsrt_plugin.onnx import KINDS, NAMES, export_onnx
from compsrt_plugin.packed import write_packed
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.packed.network_state import masks_of
from compsrt_plugin.packed.open import PackedNetwork, find_packed, open_packed
from compsrt_plugin.quant.branches import MergedBranches
from compsrt_plugin.quant.computed_weights import fold_computed

EXAMPLES = """\
examples:
  basicsr export experiments/mine/models/mine.safetensors --out mine.safetensors
      a packed file: codes at their true width, compressed without loss
  basicsr export -opt compsrt_x4_3bit.yml --out swinir.pth --dense
      weights that an unpatched BasicSR SwinIR loads strictly (key `params`); .safetensors works too
  basicsr export mine.safetensors --onnx mine.onnx
      for ONNX Runtime and others: weights as low-bit codes, any image size (docs/onnx.md)
  basicsr export mine.safetensors --hub repository --license apache-2.0 --results results/mine/results.json
      a repository for the Hugging Face Hub, with a card that has the scores (docs/publish.md)

--dense writes simulated values: each weight is decoded and transformed back to floats. Such a file has no activation
quantizers, so activations stay in full precision. Its results are slightly better than those of the quantized network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="a packed file")
    source.add_argument("-opt", metavar="FILE", help="an option file: the network it tests or has trained")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", metavar="FILE", help="the file to write: packed, or weights with --dense")
    target.add_argument("--onnx", metavar="FILE", help="the ONNX file to write, for images of any size")
    publishing.add_arguments(parser, target)
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    parser.add_argument("--onnx-kind", choices=KINDS, help=f"{kinds} (default: {next(iter(KINDS))})")
    parser.add_argument(
        "--onnx-images",
        metavar="DIR",
        help="images like those to upscale, on which int8 searches bounds (default: photographs of the package)",
    )
    parser.add_argument(
        "--onnx-names",
        nargs=2,
        metavar=("INPUT", "OUTPUT"),
        help="names of input and output in the ONNX file (default: input output; earlier files had lq sr)",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="with --onnx: compute floats in 16 bits, for runtimes on GPUs (input and output stay in 32 bits)",
    )
    parser.add_argument(
        "--dense", action="store_true", help="write ordinary weights (.pth, .safetensors) with simulated values"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file and print its size.

    Raises:
        CompSRTError: the checkpoint is missing or damaged, the output cannot be written or has a wrong extension, or
            the network cannot be exported to ONNX.
    """
    other = next((target for target in ("onnx", "hub", "openmodeldb") if getattr(args, target)), None)
    if args.dense and other is not None:
        raise CompSRTError(f"--dense and --{other} are both given", allowed="one of the two")
    for option in ("onnx_kind", "onnx_names", "onnx_images", "fp16"):
        if getattr(args, option) and not args.onnx:
            raise CompSRTError(f"--{option.replace('_', '-')} is given without --onnx", hint="add --onnx FILE")
    publishing.check(args)
    flag, path = "--onnx" if args.onnx else "--out", find_packed(args.checkpoint or args.opt)
    if args.hub or args.openmodeldb:
        return publishing.run(args, path)
    out = Path(args.out or args.onnx).expanduser()
    if out.resolve() == path.resolve():
        raise CompSRTError(f"{flag} is the file to export, {out}", hint="give it another name")
    ending = check_ending(f"{flag} (with --dense)" if args.dense else flag, out, *_endings(args))
    source = open_packed(path)
    if args.onnx:
        first, last = args.onnx_names or NAMES
        kind = args.onnx_kind or next(iter(KINDS))
        size, opset = export_onnx(out, source, kind, (first, last), _images(args.onnx_images, kind), args.fp16)
        floats = ", 16-bit floats" if args.fp16 else ""
        what = f"ONNX, opset {opset}, {kind}{floats}, {source.header.bits} bits"
    elif args.dense:
        content = dense_content(source, ending)
        write_whole(out, content)
        size, what = len(content), "simulated weights, activations not quantized"
    else:
        packed = source.packed
        size = write_packed(out, packed.state, packed.code_bits, packed.header, masks_of(source.network))
        what = f"packed, {source.header.bits} bits"
    sys.stdout.write(f"{out}: {size:,} bytes ({what}, x{source.header.scale})\n")
    return 0


def _images(given: str | None, kind: str) -> Path | None:
    """Return the folder of `--onnx-images`."""
    if given is None:
        return None
    if kind != "int8":
        raise CompSRTError(f"--onnx-images is given for the kind {kind}", hint="add --onnx-kind int8")
    return Path(given).expanduser()


def _endings(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the allowed file extensions. The first is the default."""
    if args.onnx:
        return (".onnx",)
    return (".pth", ".pt", ".safetensors") if args.dense else (".safetensors",)


def dense_content(source: PackedNetwork, ending: str) -> bytes:
    """Return ordinary weights as file content: safetensors, or a .pth with the key `params`."""
    state = {name: value.clone().contiguous() for name, value in plain_state(source).items()}
    if ending == ".safetensors":
        return safetensors.torch.save(state, {"format": "pt"})
    buffer = io.BytesIO()
    torch.save({"params": state}, buffer)
    return buffer.getvalue()


def plain_state(source: PackedNetwork) -> dict[str, torch.Tensor]:
    """Return a state dict that BasicSR's full-precision network loads strictly.

    BasicSR keeps shift masks and position indices in its files, although the network derives them from its arguments.
    They are taken from a network that is built with the same arguments.
    """
    from basicsr.archs.swinir_arch import SwinIR
    from basicsr.utils.registry import ARCH_REGISTRY

    state = dense_state(source.network)
    if isinstance(source.network, SwinIR):
        arguments = {key: value for key, value in source.header.arch.items() if key not in ("type", "quant")}
        plain: nn.Module = SwinIR(**ARCH_REGISTRY.get(source.header.arch["type"]).complete(arguments))
        plain.load_state_dict({**plain.state_dict(), **state})
        return plain.state_dict()
    if "base" in source.header.arch:
        from compsrt_plugin.zoo import SizeRule, build_base

        arch = source.header.arch
        if any(isinstance(module, MergedBranches) for module in source.network.modules()):
            raise CompSRTError(
                f"{source.path} has convolutions that were merged from branches, which cannot be separated again",
                allowed="--out without --dense",
            )
        plain = build_base(arch["base"], arch["upscale"], SizeRule.from_dict(arch["size"])).network
        fold_computed(plain)
        return {**plain.state_dict(), **state}
    return state
