"""Open packed files: find the file that a user means, read it, and rebuild its network.

The one module of `packed` that knows option files and network classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.load import load_option_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import bundled
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.packed.format import Packed, read_packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.network_state import load_packed_state
from compsrt_plugin.packed.networks import check_network_block
from compsrt_plugin.packed.weights import is_url, weights_file
from compsrt_plugin.quant import named_quantizers
from compsrt_plugin.quant.computed_weights import fold_computed


@dataclass(frozen=True)
class PackedNetwork:
    """A packed file and the network rebuilt from it.

    Attributes:
        path: the file, or what stands for it in messages.
        packed: its contents: tensors, code widths, raw header.
        header: its header, checked.
        network: the rebuilt network, with weights as codes, in eval mode, on the CPU.
    """

    path: Path
    packed: Packed
    header: Header
    network: nn.Module


def open_packed(path: str | Path) -> PackedNetwork:
    """Read a packed file and rebuild its network.

    Raises:
        CompSRTError: the file is missing, damaged or not a packed file, or its network cannot be built.
    """
    return network_of(read_packed(path), path)


def network_of(packed: Packed, source: str | Path) -> PackedNetwork:
    """Rebuild the network of a packed file that was read already.

    Args:
        packed: the contents of the file.
        source: the file, for messages.

    Raises:
        CompSRTError: the header is damaged, or its network cannot be built.
    """
    header = Header.parse(packed.header, source, packed.state)
    network = build(header, source)
    load_packed_state(network, packed, source)
    return PackedNetwork(Path(source), packed, header, network.eval())


def build(header: Header, source: str | Path) -> nn.Module:
    """Build the network that a header describes, on the CPU, with quantizers off and initial weights.

    Args:
        header: of a packed file.
        source: the file, for messages.

    Raises:
        CompSRTError: the network cannot be built.
    """
    from compsrt_plugin import register

    register()
    # BasicSR's SwinIR calls meshgrid without `indexing`
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    from basicsr.utils.registry import ARCH_REGISTRY

    check_network_block(header.arch, header.scale, source)
    arguments: dict[str, Any] = {key: value for key, value in header.arch.items() if key not in ("type", "quant")}
    with torch.device("cpu"):  # not the device of torch.set_default_device
        return ARCH_REGISTRY.get(header.arch["type"])(quant=header.spec, **arguments)


def decoded_network(source: PackedNetwork) -> nn.Module:
    """Return the network of a file without quantizers, with its weights decoded to floats.

    It is as fast as the teacher, whose weights are not needed.
    """
    from basicsr.utils.registry import ARCH_REGISTRY

    arguments: dict[str, Any] = {k: v for k, v in source.header.arch.items() if k not in ("type", "quant")}
    with torch.device("cpu"):  # as the network of the file is
        network: nn.Module = ARCH_REGISTRY.get(source.header.arch["type"])(**arguments)
    fold_computed(network)
    network.load_state_dict(dense_state(source.network), strict=False)
    return network.eval().requires_grad_(False)


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of the full-precision network: all but those of quantizers.

    Args:
        network: as `build` returns it. A frozen network holds codes instead of weights and cannot be counted.
    """
    of_quantizers = {id(p) for _, quantizer in named_quantizers(network) for p in quantizer.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in of_quantizers)


def find_packed(name_or_path: str, force_yml: list[str] | None = None) -> Path:
    """Return the path of the packed file that a user names: by path, URL, bundled name, or option file.

    A test file stands for the network it tests: `path.pretrain_network_g`, or the bundled network where that is
    empty. A train file stands for the network it makes: `experiments/NAME/models/NAME.safetensors`.

    Args:
        name_or_path: a packed file, its http(s) URL, which is downloaded once, the name of a bundled network, or an
            option file (a path, or the name of an installed test file).
        force_yml: changes to the options.

    Raises:
        CompSRTError: there is no such file, and the message says how to make it; or it cannot be downloaded.
    """
    known = name_or_path in option_files("test") or name_or_path.endswith((".yml", ".yaml"))
    if is_url(name_or_path) or not known:
        return _local_file(name_or_path)
    file = load_option_file(name_or_path, force_yml=force_yml or [])
    name = file.options["name"]
    if file.command == "test":
        given, quant = file.typed.path.pretrain_network_g, file.typed.quant
        if given:
            return _local_file(given)
        if quant is None:
            raise CompSRTError(f"{file.path.name} tests a full-precision network", allowed="a quant: block")
        return bundled.checkpoint_path(file.options["scale"], quant.bits)
    path = Path("experiments", name, "models", f"{name}.safetensors")
    if not path.is_file():
        raise CompSRTError(f"no such file: {path}", hint=f"make it: basicsr train -opt {name_or_path}")
    return path


def _local_file(source: str) -> Path:
    return weights_file(source, expected="a packed network") if is_url(source) else bundled.local_path(source)
