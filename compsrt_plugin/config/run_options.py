"""Parse the options that BasicSR hands to a model: each of our blocks once, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.config.blocks import DistillBlock, PruneBlock, TileBlock
from compsrt_plugin.config.pipeline_blocks import Padding
from compsrt_plugin.config.quant_options import QuantOptions, resolve, resolve_distill
from compsrt_plugin.config.typed import parse_value


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
        prune = None if opt.get("prune") is None else PruneBlock.from_dict(opt["prune"])
        quant = None if opt.get("quant") is None else resolve(opt["quant"], pruned=prune is not None)
        return cls(
            quant=quant,
            prune=prune,
            distill=resolve_distill(None if quant is None else quant.recipe, opt.get("distill")),
            tile=None if opt.get("tile") is None else TileBlock.from_dict(opt["tile"]),
            padding=parse_value(Padding, "val.padding", (opt.get("val") or {}).get("padding", "reflect")),
        )
