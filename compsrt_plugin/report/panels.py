"""The comparison's panels, captioned from the results."""

from __future__ import annotations

from collections.abc import Mapping

from compsrt_plugin.report.comparison_image import CaptionedImage
from compsrt_plugin.report.crop import Pixels
from compsrt_plugin.report.results import METHODS, Method, Results
from compsrt_plugin.report.results_table import format_bytes, format_psnr


def panels_for(
    results: Results, dataset: str, image: str, pictures: Mapping[Method, Pixels], original: Pixels
) -> list[CaptionedImage]:
    """Return the panels of one judged image: its methods in the order of `METHODS`, then the original.

    Captions hold the image's PSNR, for the networks also the size of their file; the quantized one is named by
    what may be said of its width (`Results.bit_label`).

    Args:
        results: a run in which `image` of `dataset` was judged.
        dataset: name of the data set.
        image: name of the image.
        images: the image each method made, H×W×3, uint8, blue-green-red; no image, no panel.
        original: what they were judged against.

    Raises:
        KeyError: the image, or a method that has an image, was not judged.
        ValueError: an image of an unknown method.
    """
    if unknown := sorted(pictures.keys() - set(METHODS)):
        raise ValueError(f"no such methods: {unknown}")
    scores = results.datasets[dataset].per_image[image].by_method()
    names = {"bicubic": "Bicubic", "teacher": "Teacher, 32-bit", "quantized": results.short_label, "engine": "Engine"}
    sizes = {"teacher": results.float_bytes, "quantized": results.bytes, "engine": results.bytes}
    panels = []
    for method in METHODS:
        if method in pictures:
            detail = f"{format_psnr(scores[method].psnr)} dB"
            if method in sizes:
                detail += f", {format_bytes(sizes[method])}"
            panels.append(CaptionedImage(names[method], pictures[method], detail))
    return [*panels, CaptionedImage("Original", original)]
