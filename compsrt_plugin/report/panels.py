"""Caption the images of a comparison from the results."""

from __future__ import annotations

from collections.abc import Mapping

from compsrt_plugin.report.comparison_image import CaptionedImage
from compsrt_plugin.report.crop import Pixels
from compsrt_plugin.report.results import METHODS, Method, Results
from compsrt_plugin.report.results_table import format_bytes, format_psnr


def panels_for(
    results: Results, dataset: str, image: str, images: Mapping[Method, Pixels], original: Pixels
) -> list[CaptionedImage]:
    """Return the captioned images of one scored image: its methods in the order of `METHODS`, then the original.

    Captions have the PSNR, for networks also the file size. `Results.bit_label` labels the quantized network.

    Args:
        results: a run in which `image` of `dataset` was scored.
        dataset: name of the data set.
        image: name of the image.
        images: method -> its image, H×W×3, uint8, blue-green-red. Methods without an image are left out.
        original: the image that they are compared with.

    Raises:
        KeyError: the image, or a method that has an image, was not scored.
        ValueError: a method is unknown.
    """
    if unknown := sorted(images.keys() - set(METHODS)):
        raise ValueError(f"no such methods: {unknown}")
    scores = results.datasets[dataset].per_image[image].by_method()
    names = {"bicubic": "Bicubic", "teacher": "Teacher, 32-bit", "quantized": results.short_label, "engine": "Engine"}
    sizes = {"teacher": results.float_bytes, "quantized": results.bytes, "engine": results.bytes}
    panels = []
    for method in METHODS:
        if method in images:
            detail = f"{format_psnr(scores[method].psnr)} dB"
            if method in sizes:
                detail += f", {format_bytes(sizes[method])}"
            panels.append(CaptionedImage(names[method], images[method], detail))
    return [*panels, CaptionedImage("Original", original)]
