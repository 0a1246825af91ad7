"""Which iteration's parameters become the result: the best by PSNR on held-out pictures, never by a test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

TEST_SETS = ("Set5", "Set14", "B100", "BSD100", "Urban100", "Manga109")


class Choice:
    """The best parameters so far and by what they were chosen.

    Attributes:
        iteration: at which they were found; -1 before anything was judged.
        value: their PSNR in dB, the mean over the held-out data sets.
        parameters: kind -> vector of all its parameters.
        curve: every (iteration, PSNR) judged.
    """

    def __init__(self) -> None:
        self.iteration = -1
        self.value = float("-inf")
        self.parameters: dict[str, Tensor] = {}
        self.curve: list[tuple[int, float]] = []

    def offer(self, iteration: int, value: float, parameters: Mapping[str, Tensor], counts: bool = True) -> None:
        """Note a candidate's PSNR, and keep its parameters if it beats all before it (the first of equals stays).

        Args:
            iteration: at which it was judged.
            value: its PSNR in dB.
            parameters: as `TrainedParameters.candidate` returns them.
            counts: false for one that cannot be the result, since pruning goes on.
        """
        self.curve.append((iteration, value))
        if counts and (value > self.value or self.iteration < 0):
            self.iteration, self.value, self.parameters = iteration, value, dict(parameters)

    @property
    def judged(self) -> int:
        """The last iteration that was judged, -1 if none was."""
        return self.curve[-1][0] if self.curve else -1

    def provenance(self, last: int) -> dict[str, Any]:
        """Return what the result file says about it.

        Args:
            last: the last iteration, whose parameters are the result where nothing was judged.
        """
        if self.iteration < 0:
            return {"by": "last iteration", "iteration": last, "value": None}
        return {"by": "holdout PSNR", "iteration": self.iteration, "value": self.value}

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors from which `restore` makes the same choice."""
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
