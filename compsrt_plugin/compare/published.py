"""Provide published results on SwinIR-light, with their conditions.

`published.csv` has the figures with their sources: 2DQuant (NeurIPS 2024, arXiv 2406.06649), CondiQuant
(arXiv 2502.15478) and the statistics script published with CompSRT (arXiv 2601.21069). PSNR in dB and SSIM on the Y
channel. Each method, code width and scale has ten figures: two for each of five data sets.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from compsrt_plugin.report import FLOAT_BITS, Score

_FILE = Path(__file__).parent / "published.csv"
SETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")
PUBLISHED_TEACHER = "official SwinIR-light"
LIMITED, UNLIMITED = "limited to 2ⁿ", "not limited: more than 2ⁿ occur"
FROZEN = "frozen"

# method -> (codes, weights); full precision and bicubic have neither
FACTS: Mapping[str, tuple[str, str]] = {
    "MinMax": (LIMITED, FROZEN),
    "Percentile": (LIMITED, FROZEN),
    "DOBI": (LIMITED, FROZEN),
    "2DQuant": (LIMITED, FROZEN),
    "CondiQuant": ("not known, no code is public", "changed (conditioned)"),
    "CompSRT": (UNLIMITED, FROZEN),
}
# (method, bits, scale) -> remark on an anomaly in the published figures
FOOTNOTES: Mapping[tuple[str, int, int], str] = {
    ("CompSRT", 2, 2): "The SSIM on B100, 0.9294, equals the one on Urban100: likely a typing error in the source.",
    ("CompSRT", 3, 2): "The PSNR on Set14, 33.82 dB, is above that at 4 bits, 33.81 dB.",
}


@dataclass(frozen=True)
class Published:
    """One published row.

    Attributes:
        method: its name in the source.
        bits: nominal code width; `FLOAT_BITS` for full precision.
        scale: upscaling factor.
        scores: data set -> PSNR and SSIM.
        source: the table or script of the figures.
        codes: whether an n-bit quantizer uses at most 2ⁿ codes.
        weights: whether the weights were trained.
        footnote: remark on an anomaly in the figures, or empty.
    """

    method: str
    bits: int
    scale: int
    scores: Mapping[str, Score]
    source: str
    codes: str = ""
    weights: str = ""
    footnote: str = ""

    @property
    def teacher(self) -> str:
        """The full-precision network that the method starts from."""
        return PUBLISHED_TEACHER if self.method in FACTS else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "method": self.method,
            "bits": self.bits,
            "scores": {name: score.to_dict() for name, score in self.scores.items()},
            "source": self.source,
            "teacher": self.teacher,
            "codes": self.codes,
            "weights": self.weights,
            "footnote": self.footnote,
        }


@cache
def published() -> tuple[Published, ...]:
    """Return every published row in the order of the file."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_row(row) for row in csv.DictReader(file))


def published_for(scale: int, bits: set[int]) -> list[Published]:
    """Return the rows of a scale at these code widths, and those of full precision and bicubic."""
    return [row for row in published() if row.scale == scale and row.bits in {*bits, FLOAT_BITS}]


def _row(row: Mapping[str, str]) -> Published:
    method, bits, scale = row["method"], int(row["bits"]), int(row["scale"])
    codes, weights = FACTS.get(method, ("", ""))
    return Published(
        method=method,
        bits=bits,
        scale=scale,
        scores={name: Score(float(row[f"{name.lower()}_psnr"]), float(row[f"{name.lower()}_ssim"])) for name in SETS},
        source=row["source"],
        codes=codes,
        weights=weights,
        footnote=FOOTNOTES.get((method, bits, scale), ""),
    )
