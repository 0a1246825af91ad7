"""The typed blocks of a run: parsed once, from the option file, and found again when BasicSR hands options to a model.

BasicSR reads the option file itself and gives a model plain values. `RunOptions.of` returns the blocks that were parsed
from equal values before, and parses only where there are none: in a program that calls BasicSR without our commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.config.blocks import DistillBlock, PruneBlock, QuantBlock, TileBlock
from compsrt_plugin.config.pipeline_blocks import OUR_BLOCKS, Padding
from compsrt_plugin.config.quant_options import QuantOptions, resolve, resolve_distill
from compsrt_plugin.config.typed import parse_value
from compsrt_plugin.quant.passes import PASSES

MOST_KEPT = 8
_KEPT: dict[str, RunOptions] = {}


@dataclass(frozen=True)
class RunOptions:
    """Hold the typed blocks of a run.

    Attributes:
        quant: how the network is quantized; None leaves full precision.
        prune: which weights become zero; None prunes nothing.
        distill: the loss of the training.
        tile: how large images are cut; None cuts them only where memory would not suffice.
        padding: how images are padded to whole windows.
    """

    quant: QuantOptions | None
    prune: PruneBlock | None
    distill: DistillBlock
    tile: TileBlock | None
    padding: str

    @classmethod
    def of(cls, opt: Mapping[str, Any]) -> RunOptions:
        """Return the typed blocks of BasicSR's parsed options.

        Raises:
            CompSRTError: a key is unknown or has a wrong value; names the key.
        """
        found = _KEPT.get(_key(opt))
        if found is not None:
            return found
        return cls.settle(
            opt,
            quant=None if opt.get("quant") is None else QuantBlock.from_dict(opt["quant"]),
            prune=None if opt.get("prune") is None else PruneBlock.from_dict(opt["prune"]),
            tile=None if opt.get("tile") is None else TileBlock.from_dict(opt["tile"]),
            padding=parse_value(Padding, "val.padding", _padding(opt)),
        )

    @classmethod
    def settle(
        cls,
        opt: Mapping[str, Any],
        quant: QuantBlock | None,
        prune: PruneBlock | None,
        tile: TileBlock | None,
        padding: str,
    ) -> RunOptions:
        """Return the blocks with every value decided by the recipe, and keep them for equal options.

        Args:
            opt: the plain values; of `distill:` those that are given go before the recipe's.
            quant, prune, tile, padding: parsed from them.

        Raises:
            CompSRTError: a recipe and what differs from it contradict each other.
        """
        settled = None if quant is None else resolve(quant, pruned=prune is not None)
        recipe = None if settled is None else settled.recipe
        made = cls(settled, prune, resolve_distill(recipe, opt.get("distill")), tile, padding)
        while len(_KEPT) >= MOST_KEPT:
            del _KEPT[next(iter(_KEPT))]
        _KEPT[_key(opt)] = made
        return made


def _padding(opt: Mapping[str, Any]) -> Any:
    return (opt.get("val") or {}).get("padding", "reflect")


def _key(opt: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal values of our blocks, and for the same registered passes only."""
    return repr([list(PASSES), [_plain(opt.get(name)) for name in OUR_BLOCKS], _padding(opt)])


def _plain(value: Any) -> Any:
    """Return nested values with plain dictionaries: BasicSR's are ordered ones."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
