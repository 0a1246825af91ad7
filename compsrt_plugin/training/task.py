"""What differs between the two kinds of training run: the interface that `TrainingRun` works with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from compsrt_plugin.training.trainer import Trainer


@dataclass(frozen=True)
class Outcome:
    """How a run came to its result.

    Attributes:
        iterations: number of iterations done.
        changed: options that were changed when the run was resumed, in order.
        selected: how the result was selected; None without iterations.
        identity: what `Task.identity` returned.
    """

    iterations: int
    changed: Sequence[Mapping[str, Any]]
    selected: Mapping[str, Any] | None
    identity: Mapping[str, Any]


class Task(ABC):
    """What is trained and what is written: `Quantization` or `FullPrecision`.

    Attributes:
        network: the network to train.
        start_label: name of the scores before the first iteration in the report; None leaves them out.
        final_from: first iteration whose candidate may be the result.
    """

    network: nn.Module
    start_label: ClassVar[str | None] = None
    final_from = 0

    @property
    @abstractmethod
    def trains_weights(self) -> bool:
        """Whether the result's weights differ from those at the start."""

    @abstractmethod
    def prepare(self, iterations: int) -> None:
        """Prepare the network for its first iteration; a resumed run skips this.

        Args:
            iterations: number of iterations that follow.
        """

    def before_iteration(self, iteration: int) -> None:  # noqa: B027
        """Change the network before an iteration, numbered from 1; by default nothing."""

    @abstractmethod
    def trainer(self, ema_decay: float) -> Trainer:
        """Return the trainer of the prepared or restored network."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return what a state and the run that resumes from it must have in common.

        `teacher` and `start` are SHA-256 of files.
        """

    def state(self) -> dict[str, Any]:
        """Return what a training state needs beside the trainer's state, as plain values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load the network of a training state."""
        self.network.load_state_dict(state["network"])

    @abstractmethod
    def write_result(self, path: Path, outcome: Outcome, first: bool) -> None:
        """Write the result.

        Args:
            path: of the file.
            outcome: how the run came to it.
            first: whether this is the first process, which writes the file; the others only change their network.
        """
