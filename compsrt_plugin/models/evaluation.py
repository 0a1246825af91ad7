"""Judging pictures: the same BasicSR metrics for every method, gathered into one `Results`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch import Tensor

from compsrt_plugin.config.keys import block_of
from compsrt_plugin.config.tables import METRICS
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.report import (
    Method,
    Results,
    Score,
    panels_for,
    results_text,
    save_comparison,
    write_markdown,
    write_results,
)

Upscaler = Callable[[Tensor], Tensor]
"""Takes a picture (1, 3, h, w) in 0..1, gives (1, 3, h * scale, w * scale)."""


class Judge:
    """Runs every method on a picture, scores what comes out, and writes the report.

    Args:
        results: where the scores go.
        methods: name (`bicubic`, `teacher`, `quantized`) to what makes the picture.
        metrics: the option file's `val.metrics` block; its `psnr` and, if there, `ssim` are reported.
    """

    def __init__(self, results: Results, methods: Mapping[Method, Upscaler], metrics: Mapping[str, Any]) -> None:
        self.results = results
        self.methods = methods
        self.metrics = metrics

    def judge(self, dataset: str, image: str, lq: Tensor, gt: Tensor) -> dict[Method, np.ndarray]:
        """Score one picture.

        Args:
            dataset: name of the data set.
            image: name of the picture in results.
            lq: (1, 3, h, w) in 0..1, RGB.
            gt: (1, 3, h * scale, w * scale) in 0..1, RGB.

        Returns:
            Method -> picture (H, W, 3), uint8, BGR.
        """
        pictures: dict[Method, np.ndarray] = {method: to_image(upscale(lq)) for method, upscale in self.methods.items()}
        original = to_image(gt)
        scores = {method: self._score(picture, original) for method, picture in pictures.items()}
        self.results.add_image(dataset, image, **scores)
        return pictures

    def _score(self, picture: np.ndarray, original: np.ndarray) -> Score:
        pair = {"img": picture, "img2": original}
        values = {name: calculate_metric(pair, dict(metric)) for name, metric in self.metrics.items()}
        return Score(values["psnr"], values.get("ssim"))

    def save_comparison(
        self, path: Path, dataset: str, image: str, pictures: Mapping[Method, np.ndarray], gt: Tensor
    ) -> None:
        """Draw what `judge` returned beside the original, zoomed, with PSNR and file sizes, as a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        panels = panels_for(self.results, dataset, image, dict(pictures), to_image(gt))
        save_comparison(path, panels, title=f"{Path(image).stem.capitalize()}, enlarged {self.results.scale} times")

    def write(self, folder: Path) -> str:
        """Write `results.json` and `results.md` into `folder` and return the table for the terminal."""
        write_results(self.results, folder / "results.json")
        write_markdown(self.results, folder / "results.md")
        return results_text(self.results)


def check_metrics(metrics: Any) -> None:
    """Check `val.metrics` before any picture is judged: BasicSR would fail at the first, after minutes perhaps.

    Args:
        metrics: the block as the option file holds it.

    Raises:
        CompSRTError: no psnr, a metric that is not reported, or arguments that do not fit it.
    """
    block_of(METRICS)("val.metrics", metrics)
    picture = np.zeros((32, 32, 3), np.uint8)
    for name, metric in metrics.items():
        try:
            calculate_metric({"img": picture, "img2": picture}, dict(metric))
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise CompSRTError(f"val.metrics.{name}: {error}", hint="see the installed option files") from error


def to_image(tensor: Tensor) -> np.ndarray:
    """Turn (1, 3, h, w) in 0..1, RGB, into (h, w, 3), uint8, BGR, rounding as BasicSR does."""
    return cast(np.ndarray, tensor2img([tensor.detach().cpu()]))
