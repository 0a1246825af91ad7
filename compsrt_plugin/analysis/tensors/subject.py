"""Find the network to analyze, from an option file, a packed file or a weight file."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from compsrt_plugin import register
from compsrt_plugin.compare.loaded import from_weights
from compsrt_plugin.config.blocks import CalibrationBlock
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.load import load_option_file
from compsrt_plugin.config.quant_options import QuantOptions
from compsrt_plugin.config.reader import read_yaml
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import bundled, is_packed, weights_file
from compsrt_plugin.packed.container import EXPECTED_PACKED as PACKED
from compsrt_plugin.packed.dense import dense_state
from compsrt_plugin.packed.open import PackedNetwork, open_packed


@dataclass(frozen=True)
class Subject:
    """A full-precision network, and further information of its source.

    Attributes:
        name: name of the results folder.
        source: the file that the user named.
        weights: the file of the weights.
        network: full precision, not converted, in eval mode.
        scale: factor by which it enlarges.
        quant: how it is quantized; None if the source does not say.
        train_set: options with the training set for calibration patches; None if there is none.
        packed: the packed file that the source is or tests; None if there is none.
        decoded: whether the weights are decoded from a packed file.
    """

    name: str
    source: str
    weights: str
    network: nn.Module
    scale: int
    quant: QuantOptions | None = None
    train_set: Mapping[str, Any] | None = None
    packed: Path | None = None
    decoded: bool = False

    @property
    def window(self) -> int:
        """Images are padded to multiples of this."""
        return int(getattr(self.network, "window_size", 1))

    def calibration(self) -> CalibrationBlock:
        """Return the number and size of the calibration patches."""
        return self.quant.calibration if self.quant else CalibrationBlock()


def find_subject(source: str, force_yml: list[str] | None = None) -> Subject:
    """Return the network that a user names.

    Args:
        source: an option file (path or installed name), a packed file, or a weight file (path or URL).
        force_yml: changes to the options.

    Raises:
        CompSRTError: the file is missing or damaged, or its network cannot be built or quantized.
    """
    register()
    # BasicSR's SwinIR calls meshgrid without `indexing`
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    if source.endswith((".yml", ".yaml")) or source in option_files("test"):
        return _of_options(source, force_yml or [])
    if force_yml:
        raise CompSRTError(f"--force_yml changes option files, and {source} is not one", hint="leave it out")
    path = weights_file(source)
    if is_packed(path):
        return _of_packed(open_packed(path), source)
    return _of_weights(source)


def _of_options(source: str, force_yml: list[str]) -> Subject:
    file = load_option_file(source, force_yml=force_yml)
    options, quant = file.options, file.typed.quant
    from compsrt_plugin.models.input_files import find_files
    from compsrt_plugin.packed.networks import weights_entry

    options, scale = copy.deepcopy(options), options["scale"]
    paths, trained = options["path"], "train" in options
    tested = None
    if quant is not None and not trained:
        tested = _tested(paths.get("pretrain_network_g"), options, quant.bits)
        paths["pretrain_network_g"] = paths.get("pretrain_network_teacher")
    weights, key = find_files(paths, scale, None, options["network_g"]), weights_entry(options)
    network = build_full_precision(options["network_g"], scale, weights, key)
    return Subject(
        name=options["name"],
        source=source,
        weights=weights,
        network=network,
        scale=scale,
        quant=quant,
        train_set=options if trained else None,
        packed=tested,
    )


def _tested(given: str | None, options: Mapping[str, Any], bits: int) -> Path | None:
    """Return the packed file that a test file names, or the bundled one, or None."""
    if given:
        return weights_file(given, expected=PACKED)
    if "base" in options["network_g"]:
        return None
    bundled_file = bundled.packed_path(options["scale"], bits)
    return bundled_file if bundled_file.is_file() else None


def build_full_precision(
    network_g: Mapping[str, Any], scale: int, weights: str, param_key: str | None = None
) -> nn.Module:
    """Build the network of a `network_g` block and load full-precision weights into it.

    Raises:
        CompSRTError: the network cannot be built, or the weights do not fit.
    """
    from basicsr.archs import build_network

    from compsrt_plugin.packed.network_weights import load_full_precision
    from compsrt_plugin.packed.networks import check_network_block

    network = build_network(check_network_block(network_g, scale, param_key=param_key))
    load_full_precision(network, weights, param_key)
    return network.eval()


def _of_packed(packed: PackedNetwork, source: str) -> Subject:
    from basicsr.archs import build_network

    network = build_network({key: value for key, value in packed.header.arch.items() if key != "quant"})
    network.load_state_dict(dense_state(packed.network), strict=False)
    return Subject(
        name=packed.path.stem,
        source=source,
        weights=str(packed.path),
        network=network.eval(),
        scale=packed.header.scale,
        packed=packed.path,
        decoded=True,
    )


def _of_weights(source: str) -> Subject:
    loaded = from_weights(source)
    return Subject(loaded.file.stem, source, str(loaded.file), loaded.network, loaded.scale)


def reference_of(packed: PackedNetwork) -> nn.Module:
    """Return the full-precision network that a packed file was made from, according to the option file in it.

    Raises:
        CompSRTError: the packed file has no option file, or the weights are missing.
    """
    from compsrt_plugin.models.input_files import find_files

    hint = "name an option file instead: basicsr analyze -opt FILE.yml, with path.pretrain_network_teacher"
    if packed.header.options is None:
        raise CompSRTError(f"{packed.path} does not record the network that it was made from", hint=hint)
    options = read_yaml(packed.header.options, str(packed.path))
    given = (options.get("path") or {}).get("pretrain_network_g")
    beside = [] if given is None else [Path(given), packed.path.parent / given, bundled.WEIGHTS / given]
    found = next((str(path) for path in beside if path.is_file()), given)
    try:
        weights = find_files({"pretrain_network_g": found}, packed.header.scale, None, options["network_g"])
    except CompSRTError as error:
        raise CompSRTError(f"{packed.path} was made from {given}: {error}", hint=hint) from error
    return build_full_precision(packed.header.arch, packed.header.scale, weights)
