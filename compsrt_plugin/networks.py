"""Full-precision networks: which can be built, loading their weights, their size, the versions that run them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

import compsrt_plugin
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import check_matches, load_weights


@runtime_checkable
class ForeignNetwork(Protocol):
    """A network whose weight files are read in its own way."""

    def read_weights(self, source: str, param_key: str | None = None) -> dict[str, torch.Tensor]:
        """Read a weight file."""
        ...


def check_network(
    network_g: Mapping[str, Any], scale: int, source: str | Path | None = None, param_key: str | None = None
) -> dict[str, Any]:
    """Check that a `network_g` block names a network we can build and quantize, for `scale`.

    Args:
        network_g: `type` and the network's arguments.
        scale: that the run is for.
        source: the file that says so, for messages; None: the option file.
        param_key: the entry to take of the weight file that describes a network (`path.param_key_g`).

    Returns:
        The block; one that names a weight file as the network's description says instead how to build it without.

    Raises:
        CompSRTError: another network, an argument that is not allowed, another scale.
    """
    from basicsr.utils.registry import ARCH_REGISTRY  # not at the top: it registers classes that import this module

    known = {name: arch for name, arch in ARCH_REGISTRY if hasattr(arch, "quantize")}
    arguments = {key: value for key, value in network_g.items() if key not in ("type", "quant")}
    base = arguments.get("base")
    if param_key is not None and isinstance(base, Mapping) and "file" in base:
        arguments["base"] = {"param_key": param_key, **base}
    try:
        if network_g["type"] not in known:
            found = f"network_g.type {network_g['type']} cannot be quantized"
            hint = f"wrap it: network_g: {{type: CompSRTNet, base: {{type: {network_g['type']}, …}}}}"
            raise CompSRTError(found, allowed=", ".join(sorted(known)), hint=hint)
        complete = known[network_g["type"]].complete(arguments)
        upscale = complete.get("upscale")
        if upscale != scale:
            raise CompSRTError(f"network_g.upscale is {upscale}, scale is {scale}", allowed="twice the same")
        return {**network_g, **complete} if "base" in complete else dict(network_g)
    except CompSRTError as error:
        if source is None:
            raise
        raise CompSRTError(f"{source} describes a network that cannot be built: {error}") from error


def load_full_precision(network: nn.Module, source: str, param_key: str | None = None) -> None:
    """Load a weight file (path or URL) into a full-precision network.

    Args:
        network: full precision, not yet converted.
        source: the file.
        param_key: the entry asked for, see `checkpoint.entries`.

    Raises:
        CompSRTError: the file cannot be used, or does not fit.
    """
    if isinstance(network, ForeignNetwork):
        weights = network.read_weights(source, param_key)
    else:
        weights = load_weights(source, param_key=param_key)
    check_matches(weights, network, source)
    network.load_state_dict(weights, strict=False)  # derived buffers may be missing; all else was checked


def float_bytes(network: nn.Module) -> int:
    """Return the bytes of the network's parameters in full precision, 4 each."""
    return 4 * sum(p.numel() for p in network.parameters())


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    from basicsr.version import __version__ as basicsr_version

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "basicsr": basicsr_version,
        "compsrt_plugin": compsrt_plugin.__version__,
    }
