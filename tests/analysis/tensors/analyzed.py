"""Places with the statistics that a test asks for."""

from __future__ import annotations

from typing import Any

from compsrt_plugin.analysis.tensors.places import Histogram, Place
from compsrt_plugin.analysis.tensors.tensor_statistics import Normality, Statistics


def statistics(w: float = 0.95, k2: float = 9.0, a2: float = 2.0, jb: float = 9.0, **fields: Any) -> Statistics:
    tests = {"shapiro_wilk": w, "dagostino": k2, "anderson_darling": a2, "jarque_bera": jb}
    plain: dict[str, Any] = {
        "minimum": -1.0,
        "maximum": 1.0,
        "span": 2.0,
        "std": 0.5,
        "kurtosis": 1.0,
        "peak": 2.0,
        "outliers": 0.0,
        "near_zero": {"0.001": 0.01, "0.01": 0.1, "0.1": 0.3},
        "near_zero_relative": {"0.01": 0.01, "0.1": 0.1, "0.5": 0.4},
        "normality": {name: Normality(value, 1.0) for name, value in tests.items()},
        "error": {"2": 0.1, "3": 0.04, "4": 0.01},
        "error_fine": {},
    }
    return Statistics(**{**plain, **fields})


def place(number: int, before: Statistics, after: Statistics, role: str = "input") -> Place:
    shares = [0.25, 0.5, 0.25]
    return Place(
        name=f"blocks.{number}.fc.{role}",
        role=role,
        depth=number,
        width=60,
        values=6000,
        sampled=6000,
        domains={"none": before, "hadamard": after},
        histogram=Histogram(3.0, {"none": shares, "hadamard": shares}),
    )
