"""The arguments of networks in `network_g:`.

BasicSR's SwinIR ignores a misspelt argument and takes any value. Of the networks that `CompSRTNet` wraps, only the form
of the block can be checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from compsrt_plugin.config.typed import Block, parse_value
from compsrt_plugin.config.values import Positive, Share, Text, names
from compsrt_plugin.errors import CompSRTError

WHERE = "network_g"
UPSAMPLERS = ("pixelshuffle", "pixelshuffledirect", "nearest+conv", "")
MOST_NUMBERS = 300_000_000
"""Weights of the linear layers and entries of the shift masks together: ten times those of the largest SwinIR."""

Upsampler = Annotated[str, names(lambda: UPSAMPLERS)]
Window = Annotated[int, Meta(ge=1, le=64)]
PerGroup = Annotated[
    list[Window],
    Meta(min_length=1, max_length=64, extra={"allowed": "a list with one number per group, as in [6, 6, 6, 6]"}),
]


class SwinIRBlock(Block, frozen=True, kw_only=True):
    """`network_g:` of type CompSRTSwinIR; the defaults are those of SwinIR-light.

    Attributes:
        upscale: scale factor, equal to `scale`.
        in_chans: channels of images.
        img_size: size of images for which shift masks are stored, in pixels.
        patch_size: always 1.
        window_size: height and width of attention windows.
        img_range: images are multiplied by it.
        depths: number of blocks in each group.
        embed_dim: channels of features.
        num_heads: attention heads in each group.
        mlp_ratio: hidden channels divided by `embed_dim`.
        qkv_bias: whether q, k and v have a bias.
        qk_scale: factor of q; null means 1 / √(channels of a head).
        drop_rate: share of features that are dropped in training.
        attn_drop_rate: share of attention weights that are dropped in training.
        drop_path_rate: share of residual branches that are dropped in training.
        ape: add an absolute position embedding.
        patch_norm: normalize after the patch embedding.
        use_checkpoint: recompute features in the backward pass, which saves memory.
        upsampler: `pixelshuffledirect`, `pixelshuffle`, `nearest+conv`, or null for none.
        resi_connection: convolutions at the end of each group.
    """

    where = WHERE

    upscale: Annotated[int, Meta(ge=1, le=8)] = 1
    in_chans: Annotated[int, Meta(ge=1, le=16)] = 3
    img_size: Annotated[int, Meta(ge=1, le=1024)] = 64
    patch_size: Annotated[int, Meta(ge=1, le=1)] = 1
    window_size: Window = 8
    img_range: Positive = 1.0
    depths: PerGroup = field(default_factory=lambda: [6, 6, 6, 6])
    embed_dim: Annotated[int, Meta(ge=1, le=2048)] = 60
    num_heads: PerGroup = field(default_factory=lambda: [6, 6, 6, 6])
    mlp_ratio: Annotated[float, Meta(gt=0, lt=17)] = 2
    qkv_bias: bool = True
    qk_scale: Positive | None = None
    drop_rate: Share = 0.0
    attn_drop_rate: Share = 0.0
    drop_path_rate: Share = 0.1
    ape: bool = False
    patch_norm: bool = True
    use_checkpoint: bool = False
    upsampler: Upsampler | None = "pixelshuffledirect"
    resi_connection: Literal["1conv", "3conv"] = "1conv"

    def __post_init__(self) -> None:
        """Refuse values that contradict each other, or a network too large to be meant."""
        super().__post_init__()
        if len(self.depths) != len(self.num_heads):
            found = f"{WHERE}.depths has {len(self.depths)} groups, {WHERE}.num_heads {len(self.num_heads)}"
            raise CompSRTError(found, allowed="as many of each")
        if any(self.embed_dim % heads for heads in self.num_heads):
            found = f"{WHERE}.embed_dim is {self.embed_dim}, {WHERE}.num_heads {self.num_heads}"
            raise CompSRTError(found, allowed="heads that divide embed_dim")
        scales = {"nearest+conv": (4,), "pixelshuffle": (1, 2, 3, 4, 8)}.get(self.upsampler or "")
        if scales and self.upscale not in scales:
            found = f"{WHERE}.upscale is {self.upscale} with the upsampler {self.upsampler}"
            raise CompSRTError(found, allowed=", ".join(map(str, scales)))
        linear = self.embed_dim**2 * (4 + 2 * self.mlp_ratio)
        numbers = sum(self.depths) * (linear + (self.img_size * self.window_size) ** 2 / 2)
        if numbers > MOST_NUMBERS:
            raise CompSRTError(
                f"{WHERE} describes a network of {numbers:,.0f} numbers (embed_dim {self.embed_dim}, "
                f"{sum(self.depths)} blocks, img_size {self.img_size}, window_size {self.window_size})",
                allowed=f"up to {MOST_NUMBERS:,}",
            )


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of SwinIR before anything of their size is allocated.

    Args:
        arguments: `embed_dim`, `depths` and the others, among them all those of SwinIR-light.

    Raises:
        CompSRTError: an unknown argument (the nearest is offered), a value that is not allowed, values that
            contradict each other, or a network too large to be meant.
    """
    SwinIRBlock.from_dict(arguments)


class FileBase(Block, frozen=True, kw_only=True):
    """`network_g.base: {file: …}`: a weight file that describes its network.

    Attributes:
        file: path or URL.
        param_key: entry of the file; left out, `path.param_key_g`.
    """

    where = f"{WHERE}.base"

    file: Text
    param_key: Text | UnsetType = UNSET


class SpandrelBase(Block, frozen=True, kw_only=True):
    """`network_g.base` in a packed file: what spandrel made of a weight file."""

    where = f"{WHERE}.base"

    spandrel: Text
    class_: Text = field(name="class")
    arguments: dict[str, Any]


LARGEST_ARGUMENT = 100_000  # a width or depth beyond is a damaged file, and would fill the memory
LONGEST_ARGUMENT = 256


def check_base(base: Any) -> None:
    """Check the form of `network_g.base`: a class of ARCH_REGISTRY, a weight file, or what spandrel made of one.

    Raises:
        CompSRTError: none of the three, more than one, a missing or unknown key, or an argument too large to be meant.
    """
    where = f"{WHERE}.base"
    kinds = [kind for kind in ("type", "file", "spandrel") if isinstance(base, Mapping) and kind in base]
    if len(kinds) != 1:
        found = f"{where} is {base!r}" if not kinds else f"{where} has the keys {', '.join(kinds)}"
        raise CompSRTError(found, allowed="{type: HAT, upscale: 4, …} or {file: weights.pth}")
    if kinds[0] == "type":
        parse_value(Text, f"{where}.type", base["type"])
    else:
        for key in ("class", "arguments") if kinds[0] == "spandrel" else ():
            if key not in base:
                raise CompSRTError(f"{where} has no key {key!r}", allowed="spandrel, class, arguments")
        (FileBase if kinds[0] == "file" else SpandrelBase).from_dict(base)
    for key, value in base.items():
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
