"""Define `Results`: the scores of a test run per image and data set, and facts about the network.

`Results` is the single source of all reports. JSON has no infinity, so the PSNR of two identical images is written as
the string `"inf"`. All other numbers are kept in full and rounded only for display.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Method = Literal["bicubic", "teacher", "quantized", "engine"]
FLOAT_BITS = 32
METHODS: tuple[Method, ...] = get_args(Method)
"""The methods that are scored, in the order of every table and image. Only `quantized` is always present."""


@dataclass(frozen=True)
class Score:
    """PSNR and SSIM of an image, or their means over images.

    Attributes:
        psnr: in dB; `math.inf` for identical images.
        ssim: at most 1; None if the option file does not have SSIM.

    Raises:
        ValueError: a value is not a measurement (NaN, −∞, an infinite SSIM).
    """

    psnr: float
    ssim: float | None = None

    def __post_init__(self) -> None:
        # Metrics return numpy scalars of several widths; JSON needs Python's float.
        object.__setattr__(self, "psnr", float(self.psnr))
        if math.isnan(self.psnr) or self.psnr == -math.inf:
            raise ValueError(f"PSNR is {self.psnr}")
        if self.ssim is not None:
            object.__setattr__(self, "ssim", float(self.ssim))
            if not math.isfinite(self.ssim):
                raise ValueError(f"SSIM is {self.ssim}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form.

        >>> Score(math.inf, 1.0).to_dict()
        {'psnr': 'inf', 'ssim': 1.0}
        """
        psnr: float | str = "inf" if self.psnr == math.inf else self.psnr
        return {"psnr": psnr} if self.ssim is None else {"psnr": psnr, "ssim": self.ssim}


def mean_score(scores: Iterable[Score]) -> Score:
    """Return the mean of per-image values, like BasicSR. One infinite PSNR makes the mean infinite.

    Raises:
        ValueError: there are no scores, or only some have SSIM.
    """
    scores = list(scores)
    if not scores:
        raise ValueError("the mean of no images")
    ssims = [score.ssim for score in scores if score.ssim is not None]
    if len(ssims) not in (0, len(scores)):
        raise ValueError("SSIM on some images and not on others")
    psnr = math.fsum(score.psnr for score in scores) / len(scores)
    return Score(psnr, math.fsum(ssims) / len(ssims) if ssims else None)


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> count_of(1, "quantizer"), count_of(384, "quantizer")
    ('1 quantizer', '384 quantizers')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image by method, or the means of a data set. None for a method that was not run."""

    quantized: Score
    bicubic: Score | None = None
    teacher: Score | None = None
    engine: Score | None = None

    def by_method(self) -> dict[Method, Score]:
        """Return the existing scores in the order of `METHODS`."""
        scores: dict[Method, Score | None] = {method: getattr(self, method) for method in METHODS}
        return {method: score for method, score in scores.items() if score is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with one key per method that was run."""
        return {method: score.to_dict() for method, score in self.by_method().items()}


@dataclass
class DatasetScores:
    """The scores of one data set: image name -> scores, in the order of scoring."""

    per_image: dict[str, ImageScores] = field(default_factory=dict)

    def add(self, image: str, scores: ImageScores) -> None:
        """Add one image.

        Raises:
            ValueError: the image is already present, or its methods or metrics differ from the others (the means would
                be over different images).
        """
        if image in self.per_image:
            raise ValueError(f"image {image!r} was judged twice")
        for first in list(self.per_image.values())[:1]:
            if _measured(first) != _measured(scores):
                raise ValueError(f"image {image!r} has other methods or metrics than the images before it")
        self.per_image[image] = scores

    @property
    def mean(self) -> ImageScores:
        """The mean over the images per method. ValueError if there are none."""
        columns = {
            method: mean_score(scores.by_method()[method] for scores in self.per_image.values())
            for method in METHODS
            if all(method in scores.by_method() for scores in self.per_image.values())
        }
        return ImageScores(**columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: number of images, means, then each image."""
        return {
            "images": len(self.per_image),
            **self.mean.to_dict(),
            "per_image": {name: scores.to_dict() for name, scores in self.per_image.items()},
        }


def _measured(scores: ImageScores) -> dict[Method, bool]:
    return {method: score.ssim is not None for method, score in scores.by_method().items()}


@dataclass(frozen=True)
class FileRecord:
    """The identity of a file, so that a result can be traced to it.

    Attributes:
        path: as given by the user or the option file.
        sha256: SHA-256 of the file, in lower-case hexadecimal.
        bytes: size on disk.
    """

    path: str
    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> FileRecord:
        """Return the record of a file. OSError if it cannot be read."""
        digest, size = hashlib.sha256(), 0
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
        return cls(os.fspath(path), digest.hexdigest(), size)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"path": self.path, "sha256": self.sha256, "bytes": self.bytes}


@dataclass
class Results:
    """The results of one test run.

    Attributes:
        name: name of the run, for example `compsrt_x4_3bit`.
        scale: upscaling factor.
        bits: nominal code width; `FLOAT_BITS` for a network without quantizers.
        bytes: size on disk of the packed file.
        float_bytes: size on disk of the same network in full precision.
        padding: padding of the LR image to whole windows (`reflect`, `flip`, …).
        metrics: the `val.metrics` block of the option file, which defines the scores.
        codes: `strict` (at most 2^bits codes) or `paper` (as published: unlimited).
        recipe: name of the quantization recipe.
        weights_trained: whether the weights of the teacher were trained further.
        distinct_codes: quantizer name → number of different codes that it produced.
        other_bits: quantizer name → width, for quantizers whose width is not `bits`.
        versions: library → version.
        files: role (`checkpoint`, `teacher`) → file.
        datasets: data set name → scores.
        extra: further values, written at the top level of the JSON.
    """

    name: str
    scale: int
    bits: int
    bytes: int
    float_bytes: int
    padding: str
    metrics: dict[str, Any]
    codes: str
    recipe: str
    weights_trained: bool
    distinct_codes: dict[str, int] = field(default_factory=dict)
    other_bits: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    datasets: dict[str, DatasetScores] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def add_image(
        self,
        dataset: str,
        image: str,
        *,
        quantized: Score,
        bicubic: Score | None = None,
        teacher: Score | None = None,
        engine: Score | None = None,
    ) -> None:
        """Add the scores of one image to a data set. The first image creates the data set.

        Raises:
            ValueError: see `DatasetScores.add`.
        """
        scores = ImageScores(quantized, bicubic, teacher, engine)
        self.datasets.setdefault(dataset, DatasetScores()).add(image, scores)

    @property
    def max_distinct_codes(self) -> int | None:
        """Largest number of codes of a quantizer of the nominal width; None if codes were not counted."""
        counts = [n for name, n in self.distinct_codes.items() if name not in self.other_bits]
        return max(counts, default=None)

    @property
    def over_limit(self) -> list[str]:
        """Names of the quantizers that produced more codes than their width allows."""
        return [name for name, n in self.distinct_codes.items() if n > 2 ** self.other_bits.get(name, self.bits)]

    @property
    def full_precision(self) -> bool:
        """Whether the network has no quantizers."""
        return self.bits == FLOAT_BITS

    @property
    def bit_label(self) -> str:
        """Label of the code width: a plain "3-bit" only if no quantizer can use or did use more codes.

        >>> Results("run", 4, 3, 1, 6, "reflect", {}, "strict", "compsrt", False).bit_label
        '3-bit'
        >>> Results("run", 4, 3, 1, 6, "reflect", {}, "paper", "compsrt-paper", False, {"q": 24}).bit_label
        'nominal 3-bit, up to 24 codes'
        """
        if self.full_precision:
            return "full precision"
        label = f"{self.bits}-bit"
        if self.codes != "strict" or self.over_limit:
            most = self.max_distinct_codes
            label = f"nominal {label}, " + ("codes not counted" if most is None else f"up to {most} codes")
        others = sorted(Counter(self.other_bits.values()).items())
        return ", ".join([label, *(f"{count_of(n, 'quantizer')} at {bits}-bit" for bits, n in others)])

    @property
    def short_label(self) -> str:
        """`bit_label` without the quantizers of another width, for a caption."""
        if self.full_precision:
            return "Full precision"
        return f"{self.bits}-bit" if self.codes == "strict" and not self.over_limit else self.bit_label

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form.

        Raises:
            ValueError: `extra` has a key that `Results` defines.
        """
        own = {
            "name": self.name,
            "scale": self.scale,
            "bits": self.bits,
            "bytes": self.bytes,
            "float_bytes": self.float_bytes,
            "max_distinct_codes": self.max_distinct_codes,
            "datasets": {name: scores.to_dict() for name, scores in self.datasets.items()},
            "padding": self.padding,
            "metrics": self.metrics,
            "codes": self.codes,
            "recipe": self.recipe,
            "weights_trained": self.weights_trained,
            "versions": self.versions,
            "files": {role: file.to_dict() for role, file in self.files.items()},
            "distinct_codes": self.distinct_codes,
            "other_bits": self.other_bits,
        }
        if clash := sorted(own.keys() & self.extra.keys()):
            raise ValueError(f"extra may not hold {clash}")
        return {**own, **self.extra}
