"""`quantize`: a super-resolution network and some images to a packed file, in one call."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from compsrt_plugin.config.blocks import QuantBlock
from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.devices import example
from compsrt_plugin.files import check_ending
from compsrt_plugin.notebook.image_patches import ImagePatches
from compsrt_plugin.notebook.loader import load
from compsrt_plugin.notebook.upscaler import Upscaler
from compsrt_plugin.notebook.wrapped import wrap
from compsrt_plugin.packed.network_state import save_network
from compsrt_plugin.terminal import log_from
from compsrt_plugin.training.calibrator import Calibrator


def quantize(
    network: nn.Module | str | Path | Any,
    images: Any,
    bits: int = 4,
    out: str | Path | None = None,
    *,
    recipe: str = "plus",
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    **quant: Any,
) -> Upscaler:
    """Quantize a super-resolution network, write it as a packed file, and return it ready to upscale.

    Bounds are searched on patches of the images, and nothing is trained: `basicsr train` distils as well. The given
    network does not change. It runs where it is, on a GPU too.

    Args:
        network: a module in full precision that maps RGB images (b, 3, h, w) in 0 to 1 to (b, 3, h * scale, w * scale);
            a model that spandrel loaded; or a weight file that spandrel reads.
        images: low-resolution images such as the network will see: files, folders or patterns, NumPy arrays (h, w),
            (h, w, c) or (n, h, w, c), tensors (c, h, w) or (n, c, h, w), PIL images, or a list of these.
        bits: code width of weights and activations, 2 to 8.
        out: the file to write; None: `CLASS_xSCALE_BITSbit.safetensors` in the current folder.
        recipe: a named set of values, see docs/quantize.md.
        arguments: keyword arguments that the network was built with. Needed if spandrel does not know the network and
            the class has no defaults that build it.
        seed: of the choice of patches.
        **quant: further keys of the `quant:` block (docs/options.md), such as `conv_bits=None`,
            `overrides={"*.fc2": {"bits": 8}}` or `calibration={"patches": 16}`.

    Returns:
        The network of the packed file, whose `path` is the file.

    Raises:
        CompSRTError: the network cannot be quantized or built again, there are no images, or a value is not allowed.
    """
    options = resolve(QuantBlock.from_dict({"recipe": recipe, "bits": bits, **quant}))
    if out is not None:
        check_ending("out", out, ".safetensors")
    with log_from(logging.WARNING):
        made = wrap(network, arguments)
        whole = made.network
        teacher = copy.deepcopy(whole).requires_grad_(False) if options.needs_teacher else whole
        place = example(whole)
        assert place is not None
        patches = ImagePatches(images, options.calibration, place.device, seed)
        calibrator = Calibrator(whole, options, None, patches, lambda: teacher)
        calibrator.calibrate(rounds_unquantized=True)
        path = Path(out).expanduser() if out is not None else Path(f"{_name(made.arch, bits)}.safetensors")
        header = calibrator.header(
            made.arch,
            name=path.stem,
            weights_trained=options.changes_weights,
            iterations=0,
            calibration=patches.about,
            seed=seed,
        )
        save_network(path.with_suffix(".safetensors"), whole, header)
    return load(path.with_suffix(".safetensors"))


def _name(arch: Mapping[str, Any], bits: int) -> str:
    base = arch.get("base", {"type": "SwinIR"})
    return f"{base.get('class') or base['type']}_x{arch['upscale']}_{bits}bit".lower()
