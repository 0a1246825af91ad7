"""Read result folders of `basicsr test`: their scores, and their images checked against the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from compsrt_plugin.compare.judging import Contestant, ImageKey
from compsrt_plugin.compare.settings import Settings
from compsrt_plugin.compare.sources import Source
from compsrt_plugin.data.images import read_image
from compsrt_plugin.errors import CompSRTError

PSNR_ROUNDING = 1e-3  # largest difference in dB of the PSNR of one image between machines


def read_folder(source: Source, originals: Mapping[ImageKey, Path], settings: Settings) -> Contestant:
    """Return the content of a result folder.

    If the originals are on this machine, the PSNR of each saved image is computed and compared. An image of another
    run, or scored against another original, would otherwise appear with the wrong figures.

    Args:
        source: a result folder.
        originals: PNG files of the originals that are on this machine.
        settings: metrics of the folder.

    Raises:
        CompSRTError: a saved image cannot be read, or its PSNR differs from the folder's.
    """
    assert source.results is not None
    teacher = source.results.files.get("teacher")
    entry = Contestant(source, source.results, "" if teacher is None else Path(teacher.path).stem)
    for data_set, scores in source.results.datasets.items():
        for image, score in scores.per_image.items():
            path = _image(source, data_set, image)
            if path is None:
                continue
            if (data_set, image) in originals:
                _check(source, path, originals[data_set, image], score.quantized.psnr, settings)
            entry.images[data_set, image] = path
    return entry


def _image(source: Source, data_set: str, image: str) -> Path | None:
    """Return the file that `basicsr test` wrote for an image, named after the LR image and the run, or None."""
    assert source.results is not None
    stem, run = PurePosixPath(image).with_suffix("").as_posix(), source.results.name
    folder = source.folder / "visualization" / data_set
    names = (f"{stem}x{source.scale}_{run}.png", f"{stem}_{run}.png")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _check(source: Source, path: Path, original: Path, psnr: float, settings: Settings) -> None:
    from basicsr.metrics import calculate_metric

    made, expected = read_image(path), read_image(original)
    if made.shape != expected.shape:
        sizes = " and ".join(f"{image.shape[1]}×{image.shape[0]}" for image in (made, expected))
        raise CompSRTError(
            f"{path} and its original have {sizes} pixels", allowed="the same crops", hint="test again, uncropped"
        )
    found = float(calculate_metric({"img": made, "img2": expected}, dict(settings.metrics["psnr"])))
    if found != psnr and not math.isclose(found, psnr, abs_tol=PSNR_ROUNDING):
        raise CompSRTError(
            f"{path} has {found:.3f} dB to the original on this machine, {source.given} says {psnr:.3f}",
            allowed="the same originals, and the images of that run",
            hint="test again, or name the data set's root with --data",
        )
