"""Evaluation of methods on images: BasicSR's metrics for each method, collected in one `Results`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch import Tensor

from compsrt_plugin.config.pipeline_blocks import Metrics
from compsrt_plugin.data.resize import upscale
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

Upscale = Callable[[Tensor], Tensor]
"""Function from an image (1, 3, h, w) in 0..1 to one of (1, 3, h * scale, w * scale)."""


class Evaluator:
    """Run every method on images, score the outputs, and write the report.

    Args:
        results: collects the scores.
        methods: name (`bicubic`, `teacher`, `quantized`, `engine`) -> the function that upscales.
        metrics: the option file's `val.metrics`; `psnr` and, if present, `ssim` are reported.
    """

    def __init__(self, results: Results, methods: Mapping[Method, Upscale], metrics: Mapping[str, Any]) -> None:
        self.results = results
        self.methods = methods
        self.metrics = metrics

    def evaluate(self, dataset: str, image: str, lq: Tensor, gt: Tensor) -> dict[Method, np.ndarray]:
        """Score all methods on one image.

        Args:
            dataset: name of the data set.
            image: name of the image in results.
            lq: (1, 3, h, w) in 0..1, RGB.
            gt: (1, 3, h * scale, w * scale) in 0..1, RGB.

        Returns:
            Method -> output image (H, W, 3), uint8, BGR.
        """
        outputs: dict[Method, np.ndarray] = {method: to_image(run(lq)) for method, run in self.methods.items()}
        original = to_image(gt)
        scores = {method: self._score(output, original) for method, output in outputs.items()}
        self.results.add_image(dataset, image, **scores)
        return outputs

    def _score(self, output: np.ndarray, original: np.ndarray) -> Score:
        pair = {"img": output, "img2": original}
        values = {name: calculate_metric(pair, dict(metric)) for name, metric in self.metrics.items()}
        return Score(values["psnr"], values.get("ssim"))

    def save_comparison(
        self, path: Path, dataset: str, image: str, outputs: Mapping[Method, np.ndarray], gt: Tensor
    ) -> None:
        """Write a PNG with the outputs of `evaluate` beside the original, enlarged, with PSNR and file sizes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        panels = panels_for(self.results, dataset, image, dict(outputs), to_image(gt))
        save_comparison(path, panels, title=f"{Path(image).stem.capitalize()}, enlarged {self.results.scale} times")

    def write(self, folder: Path) -> str:
        """Write `results.json` and `results.md` into `folder` and return the table for the terminal."""
        write_results(self.results, folder / "results.json")
        write_markdown(self.results, folder / "results.md")
        return results_text(self.results)


def check_metrics(metrics: Any) -> None:
    """Check `val.metrics` before the first image: BasicSR would fail only there.

    Args:
        metrics: the block in the option file.

    Raises:
        CompSRTError: psnr is missing, a metric is not reported, or its arguments are wrong.
    """
    Metrics.from_dict(metrics)
    black = np.zeros((32, 32, 3), np.uint8)
    for name, metric in metrics.items():
        try:
            calculate_metric({"img": black, "img2": black}, dict(metric))
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            raise CompSRTError(f"val.metrics.{name}: {error}", hint="see the installed option files") from error


def bicubic(lq: Tensor, scale: int) -> Tensor:
    """Upscale by MATLAB's bicubic interpolation: (1, 3, h, w) in 0..1 -> (1, 3, h * scale, w * scale)."""
    image = upscale(to_image(lq), scale)[..., ::-1].transpose(2, 0, 1)
    return torch.from_numpy(image.copy()).unsqueeze(0).float() / 255


def to_image(tensor: Tensor) -> np.ndarray:
    """Convert (1, 3, h, w) in 0..1, RGB, to (h, w, 3), uint8, BGR, rounded as BasicSR rounds."""
    return cast(np.ndarray, tensor2img([tensor.detach().cpu()]))
