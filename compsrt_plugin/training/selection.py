"""Selection of the result: the iteration with the best PSNR on held-out images, never on a test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

TEST_SETS = ("Set5", "Set14", "B100", "BSD100", "Urban100", "Manga109")


class Selection:
    """Keep the best parameters so far.

    Attributes:
        iteration: the iteration of those parameters; -1 before any candidate was scored.
        value: their PSNR in dB, averaged over the held-out data sets.
        parameters: kind -> vector of all its parameters.
        curve: every (iteration, PSNR) that was scored.
    """

    def __init__(self) -> None:
        self.iteration = -1
        self.value = float("-inf")
        self.parameters: dict[str, Tensor] = {}
        self.curve: list[tuple[int, float]] = []

    def offer(self, iteration: int, value: float, parameters: Mapping[str, Tensor], eligible: bool = True) -> None:
        """Record a candidate's PSNR, and keep its parameters if it is the best; the first of equals stays.

        Args:
            iteration: number of iterations done.
            value: PSNR in dB.
            parameters: as `ParameterGroups.candidate` returns them.
            eligible: false for a candidate that cannot be the result because pruning is not finished.
        """
        self.curve.append((iteration, value))
        if eligible and (value > self.value or self.iteration < 0):
            self.iteration, self.value, self.parameters = iteration, value, dict(parameters)

    @property
    def last_scored(self) -> int:
        """The last iteration that was scored, or -1."""
        return self.curve[-1][0] if self.curve else -1

    def provenance(self, last: int) -> dict[str, Any]:
        """Return how the result was selected, for the header of its file.

        Args:
            last: the last iteration, which is the result if nothing was scored.
        """
        if self.iteration < 0:
            return {"by": "last iteration", "iteration": last, "value": None}
        return {"by": "holdout PSNR", "iteration": self.iteration, "value": self.value}

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors for a training state."""
        return {name: getattr(self, name) for name in ("iteration", "value", "parameters", "curve")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.iteration, self.value = state["iteration"], state["value"]
        self.parameters, self.curve = dict(state["parameters"]), [tuple(point) for point in state["curve"]]


def named_as_test_sets(datasets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the validation sets among `datasets` whose name or folder is that of a test set.

    >>> named_as_test_sets({"val": {"name": "Holdout", "dataroot_gt": "data/set5/HR"}, "train": {"name": "Set5"}})
    ['Holdout (set5)']
    """
    known = {name.lower() for name in TEST_SETS}
    found = []
    for phase, dataset in datasets.items():
        if phase.split("_")[0] != "val":
            continue
        words: Iterable[str] = [dataset["name"], *str(dataset.get("dataroot_gt") or "").replace("\\", "/").split("/")]
        hit = next((word for word in words if word.lower() in known), None)
        if hit is not None:
            found.append(hit if hit == dataset["name"] else f"{dataset['name']} ({hit})")
    return found
