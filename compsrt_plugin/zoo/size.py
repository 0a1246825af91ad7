"""Find the image sizes that a network takes: spandrel gives them, or sizes are tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.config.typed import Block
from compsrt_plugin.devices import example
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.modes import evaluating

MULTIPLES = (1, 8, 16, 2, 4, 32, 64, 3, 6, 7, 12, 24, 48)  # tried in this order: usual sizes of attention windows
TRIED = 50  # pixels, about: more than two windows of 16
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59)


class SizeRule(Block, frozen=True):
    """The condition on height and width, in low-resolution pixels.

    Attributes:
        multiple_of: both are multiples of it.
        minimum: and at least this, itself such a multiple.
        square: and equal.
    """

    where = "network_g.size"

    multiple_of: Annotated[int, Meta(ge=1, le=1024)] = 1
    minimum: Annotated[int, Meta(ge=1, le=4096)] = 1
    square: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return msgspec.structs.asdict(self)

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest size that is allowed and holds an image of this one."""
        sides = [max(side, self.minimum) for side in (height, width)]
        sides = [-(-side // self.multiple_of) * self.multiple_of for side in sides]
        return (max(sides), max(sides)) if self.square else (sides[0], sides[1])

    def pad(self, x: Tensor) -> Tensor:
        """Pad images (b, c, h, w) at the bottom and right by their last row and column, to an allowed size."""
        height, width = self.fit(*x.shape[2:])
        if (height, width) == tuple(x.shape[2:]):
            return x
        return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), mode="replicate")

    def two_sizes(self) -> list[int]:
        """Return two sides of squares to probe a network with, small but with more than one window."""
        first = self.fit(max(32, self.minimum), 1)[0]
        return [first, first + self.fit(16, 1)[0] if self.minimum <= 16 else first + self.minimum]


def find_rule(network: nn.Module, channels: int) -> tuple[SizeRule, int]:
    """Try sizes until the network takes one and returns an integer multiple of it.

    Args:
        network: its input and output are (b, channels, h, w).
        channels: of its input.

    Returns:
        The rule, and the scale.

    Raises:
        CompSRTError: no size works; the message has the error at the last one.
    """
    own = getattr(network, "window_size", 1)
    multiples = dict.fromkeys((1, own if isinstance(own, int) and 1 <= own <= 1024 else 1, *MULTIPLES))
    said = ""
    for square in (False, True):
        for multiple in multiples:
            height, width = _awkward(multiple, square)
            scale, said = _try(network, channels, height, width)
            if scale:
                minimum = next(side for side in _doubled(multiple, height) if _try(network, channels, side, side)[0])
                return SizeRule(multiple, minimum, square), scale
    raise CompSRTError(
        f"{type(network).__name__} takes no image of about {TRIED} x {TRIED} pixels and {channels} channels ({said})",
        hint="say what it needs in network_g.size: {multiple_of: …, minimum: …}, with network_g.upscale",
    )


def _awkward(multiple: int, square: bool) -> tuple[int, int]:
    """Return multiples of `multiple` that share as few other divisors as possible."""
    primes = [p for p in PRIMES[1:] if p * multiple >= TRIED] or [3, 5]
    return primes[0] * multiple, primes[0 if square else 1] * multiple


def _doubled(multiple: int, largest: int) -> Iterator[int]:
    side = multiple
    while side < largest:
        yield side
        side *= 2
    yield -(-largest // multiple) * multiple


def _image(network: nn.Module, channels: int, height: int, width: int) -> Tensor:
    found = example(network)
    image = torch.rand(1, channels, height, width, dtype=torch.float32, device="cpu")
    return image if found is None else image.to(found)


def _try(network: nn.Module, channels: int, height: int, width: int) -> tuple[int, str]:
    """Return the scale at which the network enlarges such an image, or 0 and its error."""
    try:
        with evaluating(network), torch.no_grad(), torch.random.fork_rng(devices=[]):
            shape = network(_image(network, channels, height, width)).shape
    except Exception as error:  # foreign code may raise anything when a size does not suit it
        return 0, (str(error).strip().split("\n")[0] or type(error).__name__)[:120]
    scale = shape[-2] // height if len(shape) == 4 else 0
    if scale and tuple(shape[-2:]) == (height * scale, width * scale):
        return scale, ""
    return 0, f"{height} x {width} gave {' x '.join(map(str, shape))}"
