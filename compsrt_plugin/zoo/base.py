"""Build the full-precision network that `CompSRTNet` wraps, from BasicSR's registry or by spandrel.

base: {type: HAT, upscale: 4, …}         a class in ARCH_REGISTRY and its arguments
base: {file: craft_x4.pth}               a weight file that spandrel reads (param_key: its entry); becomes
base: {spandrel: CRAFT, class: CRAFT, arguments: {…}}      which builds the same network without the file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from compsrt_plugin.config.network_g import check_base
from compsrt_plugin.errors import unknown_class
from compsrt_plugin.packed import weights_file
from compsrt_plugin.zoo import spandrel_files
from compsrt_plugin.zoo.construct import construct
from compsrt_plugin.zoo.size import SizeRule, find_rule


@dataclass(frozen=True)
class Base:
    """A full-precision network, and the facts that its wrapper needs.

    Attributes:
        network: itself.
        block: the `base:` block that builds it again, without any file.
        scale: at which it enlarges.
        size: images it takes.
    """

    network: nn.Module
    block: dict[str, Any]
    scale: int
    size: SizeRule


def build_base(block: Mapping[str, Any], scale: int | None = None, size: SizeRule | None = None) -> Base:
    """Build the network of a `base:` block.

    Args:
        block: see the module.
        scale, size: where they are known; else they are found out, which takes some forward passes.

    Raises:
        CompSRTError: an unknown type or architecture, arguments that do not fit, spandrel missing, or a file that
            it does not read.
    """
    check_base(block)
    if "file" in block:
        spandrel_files.import_spandrel()  # before a large file is fetched
        described_by(block["file"])
        found = spandrel_files.read(block["file"], block.get("param_key"))
        return Base(found.network, found.block, found.scale, found.size)
    if "spandrel" in block:
        network = spandrel_files.rebuild(block)
        block = dict(block)
    else:
        network = _registered(block)
        block = dict(block)
    if scale is None or size is None:
        found_size, found_scale = find_rule(network, channels_of(network))
        scale, size = scale or found_scale, size or found_size
    return Base(network, block, scale, size)


def described_by(file: str) -> Path:
    """Return the local weight file that `network_g.base.file` names, a path or a URL.

    Raises:
        CompSRTError: the file is missing, unreachable, or not a kind of weight file.
    """
    elsewhere = "--force_yml network_g:base:file=FILE, or get the authors' weights as docs/networks.md says"
    return weights_file(file, if_missing=f"network_g.base.file names it: {elsewhere}")


def channels_of(network: nn.Module) -> int:
    """Return the number of channels of a network's images: the input width of its first convolution."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in (1, 3, 4) else 3


def _registered(block: Mapping[str, Any]) -> nn.Module:
    """Build a class of ARCH_REGISTRY."""
    from basicsr.utils.registry import ARCH_REGISTRY  # registers our archs, which import this folder

    arguments = {key: value for key, value in block.items() if key != "type"}
    known = {name.removesuffix("_basicsr"): arch for name, arch in ARCH_REGISTRY if not hasattr(arch, "quantize")}
    if block["type"] not in known:
        raise unknown_class("type in network_g.base:", block["type"], known)
    return construct(known[block["type"]], arguments, block["type"])
