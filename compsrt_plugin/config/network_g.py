"""`network_g:`, what each argument of SwinIR may be: BasicSR's class ignores a misspelt one and takes any value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compsrt_plugin.config.checks import Check, choice, flag, number, optional, whole
from compsrt_plugin.errors import CompSRTError, unknown_name

WHERE = "network_g"
UPSAMPLERS = ("pixelshuffle", "pixelshuffledirect", "nearest+conv", "")
CONNECTIONS = ("1conv", "3conv")
MOST_NUMBERS = 300_000_000
"""Weights of the linear layers and entries of the shift masks together: ten times those of the largest SwinIR."""


def _one_per_group(inner: Check) -> Check:
    def check(key: str, value: Any) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= 64:
            raise CompSRTError(f"{key} is {value!r}", allowed="a list with one number per group, as in [6, 6, 6, 6]")
        for part in value:
            inner(key, part)

    return check


_SHARE = number(0, below=1)
ARGUMENTS: dict[str, Check] = {
    "img_size": whole(1, 1024),
    "patch_size": whole(1, 1),
    "in_chans": whole(1, 16),
    "embed_dim": whole(1, 2048),
    "depths": _one_per_group(whole(1, 64)),
    "num_heads": _one_per_group(whole(1, 64)),
    "window_size": whole(1, 64),
    "mlp_ratio": number(0, below=17, above=True),
    "qkv_bias": flag(),
    "qk_scale": optional(number(0, above=True)),
    "drop_rate": _SHARE,
    "attn_drop_rate": _SHARE,
    "drop_path_rate": _SHARE,
    "ape": flag(),
    "patch_norm": flag(),
    "use_checkpoint": flag(),
    "upscale": whole(1, 8),
    "img_range": number(0, above=True),
    "upsampler": optional(choice(lambda: UPSAMPLERS)),
    "resi_connection": choice(lambda: CONNECTIONS),
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the arguments SwinIR is to be built with, before anything of their size is allocated.

    Args:
        arguments: `embed_dim`, `depths` and the others, all that SwinIR-light's defaults name among them.

    Raises:
        CompSRTError: an unknown argument (the nearest is offered), a value that is not allowed, values that
            contradict each other, or a network too large to be meant.
    """
    for name, value in arguments.items():
        if name not in ARGUMENTS:
            raise unknown_name(f"key in {WHERE}:", name, ARGUMENTS)
        ARGUMENTS[name](f"{WHERE}.{name}", value)
    width, depths, heads = arguments["embed_dim"], arguments["depths"], arguments["num_heads"]
    if len(depths) != len(heads):
        raise CompSRTError(
            f"{WHERE}.depths has {len(depths)} groups, {WHERE}.num_heads {len(heads)}", allowed="as many of each"
        )
    if any(width % head for head in heads):
        raise CompSRTError(
            f"{WHERE}.embed_dim is {width}, {WHERE}.num_heads {list(heads)}",
            allowed="heads that divide embed_dim",
        )
    scale = arguments.get("upscale", 1)
    if arguments["upsampler"] == "nearest+conv" and scale != 4:
        raise CompSRTError(f"{WHERE}.upscale is {scale} with the upsampler nearest+conv", allowed="4")
    if arguments["upsampler"] == "pixelshuffle" and scale not in (1, 2, 3, 4, 8):
        raise CompSRTError(f"{WHERE}.upscale is {scale} with the upsampler pixelshuffle", allowed="1, 2, 3, 4, 8")
    linear = width**2 * (4 + 2 * arguments["mlp_ratio"])
    numbers = sum(depths) * (linear + (arguments["img_size"] * arguments["window_size"]) ** 2 / 2)
    if numbers > MOST_NUMBERS:
        raise CompSRTError(
            f"{WHERE} describes a network of {numbers:,.0f} numbers (embed_dim {width}, {sum(depths)} blocks, "
            f"img_size {arguments['img_size']}, window_size {arguments['window_size']})",
            allowed=f"up to {MOST_NUMBERS:,}",
        )
