"""The held-out data sets of a training run: when they are scored, and their scores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from basicsr.data import build_dataloader, build_dataset

from compsrt_plugin.report import DatasetScores, Results, Score


class HeldOutSets:
    """Collect the scores of one candidate until every held-out data set is scored.

    Args:
        opt: BasicSR's parsed options; data sets whose phase begins with `val` are held out.

    Attributes:
        start: data set, image, its PSNR in dB and its SSIM before the first iteration.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.options = [dataset for phase, dataset in opt["datasets"].items() if phase.split("_")[0] == "val"]
        self.start: list[tuple[str, str, float, float | None]] = []
        self._val, self._total = opt.get("val"), int(opt["train"]["total_iter"])
        self._scored: dict[str, DatasetScores | None] = {}

    @cached_property
    def loaders(self) -> list[Any]:
        """Loaders of the data sets, built once: building one reads every image to check it."""
        return [build_dataloader(build_dataset(dataset), dataset) for dataset in self.options]

    def due(self, iteration: int) -> bool:
        """Return whether the candidate of this iteration is to be scored: the first, the last, and by `val_freq`."""
        if self._val is None:
            return False
        return iteration in (0, self._total) or iteration % int(self._val["val_freq"]) == 0

    def add(self, name: str, scores: DatasetScores | None) -> dict[str, DatasetScores] | None:
        """Record the scores of one data set.

        Args:
            name: of the data set.
            scores: None if its images were not found.

        Returns:
            The scores of all data sets that were found, once every data set is recorded; None before.
        """
        self._scored[name] = scores
        if len(self._scored) < len(self.options):
            return None
        complete = {name: scores for name, scores in self._scored.items() if scores is not None}
        self._scored = {}
        return complete

    def record_start(self, scores: Mapping[str, DatasetScores]) -> None:
        """Keep the scores before the first iteration, for the report."""
        self.start = [
            (name, image, row.quantized.psnr, row.quantized.ssim)
            for name, of_set in scores.items()
            for image, row in of_set.per_image.items()
        ]

    def add_start(self, results: Results, label: str) -> None:
        """Add the scores before the first iteration to a report, as data sets `NAME, LABEL`."""
        for name, image, psnr, ssim in self.start:
            end = results.datasets[name].per_image[image]
            results.add_image(
                f"{name}, {label}", image, quantized=Score(psnr, ssim), bicubic=end.bicubic, teacher=end.teacher
            )


def mean_psnr(scores: Mapping[str, DatasetScores]) -> float:
    """Return the PSNR in dB, averaged over the data sets."""
    return sum(of_set.mean.quantized.psnr for of_set in scores.values()) / len(scores)
