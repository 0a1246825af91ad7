"""Run every network on every image and score it by BasicSR's metrics. The images stay on disk for the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from compsrt_plugin.compare.data_sets import Sets, names_of
from compsrt_plugin.compare.loaded import Loaded
from compsrt_plugin.compare.settings import Settings
from compsrt_plugin.compare.sources import Source
from compsrt_plugin.data.images import write_image
from compsrt_plugin.inference import super_resolve
from compsrt_plugin.report import FLOAT_BITS, FileRecord, Results
from compsrt_plugin.terminal import name_step, progress

ImageKey = tuple[str, str]
"""(name of a data set, name of an image in it)."""


@dataclass
class Contestant:
    """A source with its scores.

    Attributes:
        source: the source.
        results: its scores.
        teacher: name of the full-precision weights that it was made from, if its file records it.
        images: image -> its result as a PNG file. Empty if a result folder has no images.
    """

    source: Source
    results: Results
    teacher: str = ""
    images: dict[ImageKey, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Display name."""
        return self.source.name


def write_originals(sets: Sets, folder: Path) -> dict[ImageKey, Path]:
    """Write the originals as PNG files, cropped where a data set crops them.

    Returns:
        The file of each image.
    """
    from compsrt_plugin.models.evaluation import to_image

    originals: dict[ImageKey, Path] = {}
    for data_set, dataset in sets.items():
        for index, image in enumerate(names_of(dataset)):
            path = folder / f"{len(originals)}_original.png"
            write_image(path, to_image(dataset[index]["gt"].unsqueeze(0)))
            originals[data_set, image] = path
    return originals


def judge_networks(sources: Sequence[Source], sets: Sets, settings: Settings, folder: Path) -> dict[str, Contestant]:
    """Run every network of the sources on every image.

    Args:
        sources: the sources. Result folders are skipped.
        sets: the data sets.
        settings: metrics and padding.
        folder: folder for the images.

    Returns:
        Name of a source -> contestant.

    Raises:
        CompSRTError: a network cannot be built, a metric cannot be computed, or the disk is full.
    """
    from compsrt_plugin.models.evaluation import check_metrics

    check_metrics(settings.metrics)
    running = [source for source in sources if source.load is not None]
    entries: dict[str, Contestant] = {}
    with progress(total=len(running) * sum(map(len, sets.values())), desc="compare", unit="images") as bar:
        for number, source in enumerate(running):
            name_step(bar, source.name)
            assert source.load is not None
            loaded = source.load()
            entry = Contestant(source, _results(source, loaded, settings), loaded.teacher)
            _run(entry, loaded, sets, settings, folder / str(number), bar.update)
            entries[source.name] = entry
    return entries


def _run(
    entry: Contestant, loaded: Loaded, sets: Sets, settings: Settings, folder: Path, step: Callable[[], object]
) -> None:
    from compsrt_plugin.models.evaluation import Evaluator

    network = loaded.network.to("cuda" if torch.cuda.is_available() else "cpu")

    def upscale(lq: torch.Tensor) -> torch.Tensor:
        return super_resolve(
            network, lq, scale=settings.scale, window=loaded.window, padding=settings.padding, tile=loaded.tile
        )

    evaluator = Evaluator(entry.results, {"quantized": upscale}, settings.metrics)
    for data_set, dataset in sets.items():
        for index, image in enumerate(names_of(dataset)):
            pair = dataset[index]
            made = evaluator.evaluate(data_set, image, pair["lq"].unsqueeze(0), pair["gt"].unsqueeze(0))["quantized"]
            path = folder / f"{len(entry.images)}.png"
            write_image(path, made)
            entry.images[data_set, image] = path
            step()


def _results(source: Source, loaded: Loaded, settings: Settings) -> Results:
    from compsrt_plugin.packed.network_weights import float_bytes
    from compsrt_plugin.report.versions import versions

    record = FileRecord.of(loaded.file)
    floats = float_bytes(loaded.network) if loaded.bits == FLOAT_BITS else 0
    return Results(
        name=source.name,
        scale=settings.scale,
        bits=loaded.bits,
        bytes=record.bytes,
        float_bytes=floats,
        padding=settings.padding,
        metrics=dict(settings.metrics),
        codes=loaded.codes,
        recipe=loaded.recipe,
        weights_trained=loaded.weights_trained,
        other_bits=dict(loaded.other_bits),
        versions=versions(),
        files={"checkpoint": record},
        extra={} if loaded.conditioning is None else {"conditioning": loaded.conditioning},
    )
