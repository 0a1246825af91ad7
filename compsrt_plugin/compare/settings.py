"""Check that all sources of a comparison agree on the conditions of their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compsrt_plugin.compare.sources import Source
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError

PADDING = "reflect"
NO_MATTER = ("better",)  # keys of a metric that do not affect its value; BasicSR selects checkpoints by them


@dataclass(frozen=True)
class Settings:
    """The conditions of the figures, apart from the images.

    Attributes:
        scale: upscaling factor.
        padding: padding of images to whole windows.
        metrics: the `val.metrics` block.
    """

    scale: int
    padding: str
    metrics: Mapping[str, Any]


def agree(sources: Sequence[Source]) -> Settings:
    """Return the settings of all sources. Sources that do not define them take those of the others.

    Raises:
        CompSRTError: scales, paddings or metrics differ. The message names both sources and both values.
    """
    scale = _same("scale", ((source, source.scale) for source in sources), "compare networks of one scale")
    paddings = [(source, source.padding) for source in sources if source.padding is not None]
    padding = _same("val.padding", paddings, "give both option files one padding, or test again")
    blocks = [(source, source.metrics) for source in sources if source.metrics is not None]
    for metric in dict.fromkeys(name for _, block in blocks for name in block):
        _same(f"metric {metric}", ((source, metric in block) for source, block in blocks), "judge all by the same")
        for key in dict.fromkeys(key for _, block in blocks for key in block[metric] if key not in NO_MATTER):
            values = ((source, block[metric].get(key)) for source, block in blocks)
            _same(f"metrics.{metric}.{key}", values, "figures on other crops or channels cannot be compared")
    metrics = blocks[0][1] if blocks else installed_options(scale)["val"]["metrics"]
    return Settings(scale, padding or PADDING, metrics)


def installed_options(scale: int) -> Mapping[str, Any]:
    """Return the installed option file of `basicsr test` for a scale.

    Raises:
        CompSRTError: there is none for this scale.
    """
    for name, file in option_files("test").items():
        if name.startswith(f"compsrt_x{scale}_"):
            return read_option_file(file)
    raise CompSRTError(
        f"no installed option file defines data sets and metrics for x{scale}",
        hint="compare with an option file of your own, whose data sets and metrics are then used",
    )


def _same(what: str, values: Iterable[tuple[Source, Any]], hint: str) -> Any:
    """Return the common value, or None if there are no values."""
    values = list(values)
    for source, value in values[1:]:
        first, expected = values[0]
        if value != expected:
            raise CompSRTError(
                f"{what} is {_shown(expected)} in {first.name} and {_shown(value)} in {source.name}",
                allowed="the same in all",
                hint=hint,
            )
    return values[0][1] if values else None


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
