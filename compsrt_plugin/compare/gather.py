"""Turn sources into contestants that can be compared. Everything is checked before the first network runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compsrt_plugin.compare.data_sets import Sets, find_sets, names_of
from compsrt_plugin.compare.folders import read_folder
from compsrt_plugin.compare.judging import Contestant, ImageKey, judge_networks, write_originals
from compsrt_plugin.compare.settings import Settings, agree
from compsrt_plugin.compare.sources import Source
from compsrt_plugin.errors import CompSRTError, unknown_name


@dataclass(frozen=True)
class Gathering:
    """Everything that is compared.

    Attributes:
        entries: the contestants in the given order. The first is the baseline.
        settings: the conditions of all figures.
        originals: PNG files of the originals that are on this machine.
        keys: data set and name of every image, in order.
    """

    entries: list[Contestant]
    settings: Settings
    originals: dict[ImageKey, Path]
    keys: list[ImageKey]


def gather_contestants(sources: Sequence[Source], wanted: Sequence[str], folder: Path) -> Gathering:
    """Return the contestants: networks are run and scored, result folders are read.

    Args:
        sources: the sources to compare.
        wanted: names of data sets. If empty, all that are found are used.
        folder: folder for images, which must exist until the page is written.

    Raises:
        CompSRTError: the sources cannot be compared. This is checked before anything runs.
    """
    settings = agree(sources)
    sources = [_only(source, wanted) for source in sources]
    runs = any(source.load is not None for source in sources)
    sets = find_sets(sources, settings.scale, wanted if runs else ())
    keys = _same_images(sources, sets)
    originals = write_originals({name: dataset for name, dataset in sets.items() if _has(keys, name)}, folder)
    # Folders first, so that errors in their images are found before a network runs.
    entries = {source.name: read_folder(source, originals, settings) for source in sources if source.load is None}
    entries |= judge_networks(sources, sets, settings, folder)
    return Gathering([entries[source.name] for source in sources], settings, originals, keys)


def _only(source: Source, wanted: Sequence[str]) -> Source:
    """Return a source without the data sets that are not wanted."""
    if source.results is None or not wanted:
        return source
    found = source.results.datasets
    for name in wanted:
        if name not in found:
            raise unknown_name(f"data set in {source.given}", name, found)
    return replace(source, results=replace(source.results, datasets={name: found[name] for name in wanted}))


def _same_images(sources: Sequence[Source], sets: Sets) -> list[ImageKey]:
    """Return the images that every source is scored on.

    Raises:
        CompSRTError: a result folder has other images.
    """
    to_judge = {name: names_of(dataset) for name, dataset in sets.items()}
    found: list[tuple[str, dict[str, list[str]]]] = []
    for source in sources:
        if source.results is not None:
            images = {name: list(scores.per_image) for name, scores in source.results.datasets.items()}
            found.append((source.name, images))
        else:
            found.append((source.name, to_judge))
    first, expected = found[0]
    for name, images in found[1:]:
        for one, other, mine, theirs in ((first, name, expected, images), (name, first, images, expected)):
            if missing := [data_set for data_set in mine if data_set not in theirs]:
                raise CompSRTError(
                    f"{one} has data set {missing[0]}, {other} has not",
                    allowed="the same images in all",
                    hint="choose the data sets that all have: --sets NAME …",
                )
            for data_set in mine:
                if lacking := [image for image in mine[data_set] if image not in theirs[data_set]]:
                    raise CompSRTError(
                        f"{one} has the image {lacking[0]} of {data_set}, {other} has not "
                        f"({len(mine[data_set])} and {len(theirs[data_set])} images)",
                        allowed="the same images in all",
                        hint="test both on the same images",
                    )
    return [(data_set, image) for data_set, images in expected.items() for image in images]


def _has(keys: Sequence[ImageKey], data_set: str) -> bool:
    return any(name == data_set for name, _ in keys)
