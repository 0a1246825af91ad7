"""Load the networks to compare, built as `basicsr test` builds them."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from compsrt_plugin import register
from compsrt_plugin.config.load import OptionFile
from compsrt_plugin.inference import Tile, check_tile
from compsrt_plugin.packed import bundled, load_weights, weights_file
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.report import FLOAT_BITS

_SCALES = (2, 3, 4)  # scales of SwinIR-light


@dataclass(frozen=True)
class Loaded:
    """A network and the facts known about it.

    Attributes:
        network: in eval mode, on the CPU.
        scale: its upscaling factor.
        file: the local file of its weights.
        bits: nominal code width; `FLOAT_BITS` for full precision.
        other_bits: quantizer -> width, for quantizers whose width is not `bits`.
        codes: `strict` or `paper`, see `report.Results`.
        recipe: quantization recipe; `none` for full precision.
        weights_trained: whether quantization trained weights as well as bounds.
        conditioning: whether quantization changed weights to fit the codes.
        teacher: name of the full-precision weights that it was made from, if its file records it.
        tile: how large images are cut. None cuts them only if memory requires it.
    """

    network: nn.Module
    scale: int
    file: Path
    bits: int = FLOAT_BITS
    other_bits: Mapping[str, int] = field(default_factory=dict)
    codes: str = "strict"
    recipe: str = "none"
    weights_trained: bool = False
    conditioning: Any = None
    teacher: str = ""
    tile: Tile | None = None

    @property
    def window(self) -> int:
        """Input height and width must be multiples of this."""
        return int(getattr(self.network, "window_size", 1))


def from_options(file: OptionFile) -> Loaded:
    """Build the network that an option file of `basicsr test` tests.

    Args:
        file: of a test.

    Raises:
        CompSRTError: the weights are missing, damaged, or of another network.
    """
    register()
    from compsrt_plugin.models import input_files
    from compsrt_plugin.packed.network_weights import load_full_precision
    from compsrt_plugin.packed.networks import check_network_block, weights_entry

    options, quant = copy.deepcopy(file.options), file.typed.quant
    paths, scale, bits = options["path"], options["scale"], None if quant is None else quant.bits
    paths["param_key_g"] = weights_entry(options)
    input_files.find_files(paths, scale, bits, options["network_g"])
    weights = Path(paths["pretrain_network_g"])
    if bits is not None:
        input_files.read_packed_for_test(str(weights), scale, bits)  # checks that the file is what the options say
        loaded = from_packed(weights)
    else:
        arch = check_network_block(options["network_g"], scale, param_key=paths["param_key_g"])
        network = _build(arch)
        load_full_precision(network, str(weights), paths["param_key_g"])
        loaded = Loaded(network.eval(), scale, weights)
    block = getattr(file.typed.file, "tile", None)
    if block is None:
        return loaded
    tile = Tile(block.size, block.overlap)
    check_tile(tile, loaded.window)
    return replace(loaded, tile=tile)


def from_packed(path: Path) -> Loaded:
    """Return the network of a packed file.

    Raises:
        CompSRTError: the file is missing or damaged, or its network cannot be built.
    """
    from compsrt_plugin.quant import named_quantizers

    source = open_packed(path)
    header = source.header
    widths = {quantizer.name: quantizer.spec.bits for _, quantizer in named_quantizers(source.network)}
    return Loaded(
        network=source.network,
        scale=header.scale,
        file=path,
        bits=header.bits,
        other_bits={name: width for name, width in widths.items() if width != header.bits},
        codes=header.spec.activation.codes,
        recipe=header.recipe,
        weights_trained=header.weights_trained,
        conditioning=header.provenance.get("conditioning"),
        teacher=_teacher(header.provenance.get("teacher_sha256")),
    )


def from_weights(given: str) -> Loaded:
    """Return the full-precision network of a weight file: SwinIR-light, or a network that spandrel detects.

    Args:
        given: path or URL.

    Raises:
        CompSRTError: the file has no weights, is damaged, or its network is unknown.
    """
    register()
    from compsrt_plugin.packed.network_weights import load_full_precision

    file = weights_file(given)
    weights = load_weights(given)
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    for scale in _SCALES:
        light = _build({"type": "CompSRTSwinIR", "upscale": scale})
        if {name: tensor.shape for name, tensor in light.state_dict().items()} == shapes:
            load_full_precision(light, given)
            return Loaded(light.eval(), scale, file)
    network: Any = _build({"type": "CompSRTNet", "base": {"file": given}})
    return Loaded(network.eval(), network.scale, file)


def _build(arch: Mapping[str, Any]) -> nn.Module:
    # BasicSR's SwinIR calls meshgrid without `indexing`
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    from basicsr.utils.registry import ARCH_REGISTRY

    arguments = {key: value for key, value in arch.items() if key not in ("type", "quant")}
    return ARCH_REGISTRY.get(arch["type"])(**arguments)


def _teacher(sha256: str | None) -> str:
    """Return the name of the bundled file with this hash, else the hash."""
    if not isinstance(sha256, str):
        return ""
    manifest = json.loads(bundled.MANIFEST.read_text(encoding="utf-8"))
    names = [name for name, record in manifest.items() if record["sha256"] == sha256]
    return Path(names[0]).stem if names else f"sha256 {sha256[:12]}…"
