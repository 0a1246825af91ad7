"""`basicsr export`: a quantized network as one packed file, as ordinary weights, or as ONNX, for other tools."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import check_ending, write_whole
from compsrt_plugin.onnx import export_onnx
from compsrt_plugin.packed import write_packed
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.packed.network import masks_of
from compsrt_plugin.packed_network import PackedNetwork, find_packed, open_packed
from compsrt_plugin.quant.computed_weights import fold_computed

EXAMPLES = """\
examples:
  basicsr export experiments/mine/models/mine.safetensors --out mine.safetensors
      one packed file: codes at their true bits, compressed without loss
  basicsr export -opt compsrt_x4_3bit.yml --out swinir.pth --dense
      weights that an unpatched BasicSR SwinIR loads strictly (key `params`); .safetensors is written too
  basicsr export mine.safetensors --onnx mine.onnx
      for ONNX Runtime and others: codes of weights as integers, any picture size (docs/onnx.md)

--dense holds simulated values: each weight is decoded and transformed back, so that the network computes
x W^T with W as the codes say. The quantizers of activations are not part of such a file: inputs stay in full
precision there, and results are a little better than the quantized network's.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is exported, where to, and how."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="a packed file")
    source.add_argument("-opt", metavar="FILE", help="an option file: the network it tests, or has made")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", metavar="FILE", help="what to write: a packed file, or weights with --dense")
    target.add_argument("--onnx", metavar="FILE", help="what to write: ONNX, for pictures of any size")
    parser.add_argument("--dense", action="store_true", help="ordinary weights (.pth, .safetensors), simulated values")


def run(args: argparse.Namespace) -> int:
    """Write the file and say how large it is.

    Raises:
        CompSRTError: no such checkpoint, a damaged one, an ending or a place that cannot be written, or a network that
            has no ONNX form.
    """
    if args.dense and args.onnx:
        raise CompSRTError("--dense and --onnx are given", allowed="one of the two")
    flag, path = "--onnx" if args.onnx else "--out", find_packed(args.checkpoint or args.opt)
    out = Path(args.out or args.onnx).expanduser()
    if out.resolve() == path.resolve():
        raise CompSRTError(f"{flag} is the file to export, {out}", hint="give it another name")
    ending = check_ending(f"{flag} (with --dense)" if args.dense else flag, out, *_endings(args))
    source = open_packed(path)
    if args.onnx:
        size, opset = export_onnx(out, source.network, source.header)
        what = f"ONNX, opset {opset}, {source.header.bits} bits"
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


def _endings(args: argparse.Namespace) -> tuple[str, ...]:
    """Return what the file's name may end in; without an ending the first is meant."""
    if args.onnx:
        return (".onnx",)
    return (".pth", ".pt", ".safetensors") if args.dense else (".safetensors",)


def dense_content(source: PackedNetwork, ending: str) -> bytes:
    """Return ordinary weights as a file of that ending holds them: safetensors, or a .pth with the key `params`."""
    state = {name: value.clone().contiguous() for name, value in plain_state(source).items()}
    if ending == ".safetensors":
        return safetensors.torch.save(state, {"format": "pt"})
    buffer = io.BytesIO()
    torch.save({"params": state}, buffer)
    return buffer.getvalue()


def plain_state(source: PackedNetwork) -> dict[str, torch.Tensor]:
    """Return a state dict that the full-precision network, as BasicSR has it, loads strictly.

    Files hold shift masks and position indices that a network derives from its arguments; they are taken from one
    built with the same arguments.
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
        plain = build_base(arch["base"], arch["upscale"], SizeRule.from_dict(arch["size"])).network
        fold_computed(plain)
        return {**plain.state_dict(), **state}
    return state
