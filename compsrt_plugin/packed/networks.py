"""Check the network of a `network_g:` block, and find the entry of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compsrt_plugin.config.typed import parse_value
from compsrt_plugin.config.values import Text
from compsrt_plugin.errors import CompSRTError


def check_network_block(
    network_g: Mapping[str, Any], scale: int, source: str | Path | None = None, param_key: str | None = None
) -> dict[str, Any]:
    """Check that a `network_g` block names a network that we can build and quantize, for `scale`.

    Args:
        network_g: `type` and the network's arguments.
        scale: scale of the run.
        source: the file that holds the block, for messages; None: the option file.
        param_key: the entry to read of a weight file that describes the network (`path.param_key_g`).

    Returns:
        The block. If a weight file describes the network, the block is replaced by one that does not need the file.

    Raises:
        CompSRTError: another network, an argument that is not allowed, or another scale.
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
            raise CompSRTError(f"network_g.upscale is {upscale}, scale is {scale}", allowed="equal values")
        return {**network_g, **complete} if "base" in complete else dict(network_g)
    except CompSRTError as error:
        if source is None:
            raise
        raise CompSRTError(f"{source} describes a network that cannot be built: {error}") from error


def weights_entry(opt: Mapping[str, Any]) -> str | None:
    """Return the entry of weight files to read: `path.param_key_g`, or `param_key` of `network_g.base`; None: any.

    Args:
        opt: the options.

    Raises:
        CompSRTError: the value is not text, or the two differ.
    """
    asked, base = opt["path"].get("param_key_g"), opt["network_g"].get("base")
    parse_value(Text | None, "path.param_key_g", asked)
    own = base.get("param_key") if isinstance(base, Mapping) else None
    if None not in (own, asked) and own != asked:
        raise CompSRTError(
            f"network_g.base.param_key is {own}, path.param_key_g is {asked}", hint="leave one of the two out"
        )
    return own if asked is None else asked
