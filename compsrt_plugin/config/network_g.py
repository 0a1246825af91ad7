"""`network_g:`, what each argument of SwinIR may be: BasicSR's class ignores a misspelt one and takes any value.

Of the networks that `CompSRTNet` wraps, only the form of the block can be checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compsrt_plugin.config.checks import Check, choice, flag, mapping, number, optional, text, whole
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


KINDS_OF_BASE: dict[str, dict[str, Check]] = {
    "type": {"type": text()},
    "file": {"file": text()},
    "spandrel": {"spandrel": text(), "class": text(), "arguments": mapping()},
}
MAY_HAVE: dict[str, dict[str, Check]] = {
    "file": {"param_key": text()}
}  # the file's entry; `path.param_key_g` if left out
LARGEST_ARGUMENT = 100_000  # a width or depth beyond is a damaged file, and would fill the memory
LONGEST_ARGUMENT = 256


def check_base(base: Any) -> None:
    """Check the form of `network_g.base`: a class of ARCH_REGISTRY, a weight file, or what spandrel made of one.

    Raises:
        CompSRTError: none of the three, more than one, a missing or unknown key, or an argument too large to be meant.
    """
    where = f"{WHERE}.base"
    kinds = [kind for kind in KINDS_OF_BASE if isinstance(base, Mapping) and kind in base]
    if len(kinds) != 1:
        found = f"{where} is {base!r}" if not kinds else f"{where} has the keys {', '.join(kinds)}"
        raise CompSRTError(found, allowed="{type: HAT, upscale: 4, …} or {file: weights.pth}")
    checks = KINDS_OF_BASE[kinds[0]]
    for key, check in checks.items():
        if key not in base:
            raise CompSRTError(f"{where} has no key {key!r}", allowed=", ".join(checks))
        check(f"{where}.{key}", base[key])
    further = MAY_HAVE.get(kinds[0], {})
    for key, value in base.items():
        if key not in checks and kinds[0] != "type":
            if key not in further:
                raise unknown_name(f"key in {where}:", key, [*checks, *further])
            further[key](f"{where}.{key}", value)
        _check_sizes(f"{where}.{key}", value)


def _check_sizes(key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            _check_sizes(f"{key}.{name}", part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > LONGEST_ARGUMENT:
            raise CompSRTError(f"{key} has {len(value)} entries", allowed=f"up to {LONGEST_ARGUMENT}")
        for part in value:
            _check_sizes(key, part)
    elif isinstance(value, (int, float)) and abs(value) > LARGEST_ARGUMENT:
        raise CompSRTError(f"{key} is {value}", allowed=f"up to {LARGEST_ARGUMENT:,}")
