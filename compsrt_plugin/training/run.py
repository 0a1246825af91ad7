"""One training run, from its first iteration or a state to its result."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from basicsr.utils import get_root_logger
from torch import Tensor
from torch.optim import Optimizer

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.processes import wait_for_all
from compsrt_plugin.report import DatasetScores
from compsrt_plugin.training.held_out import HeldOutSets, mean_psnr
from compsrt_plugin.training.loss_curve import save_curve
from compsrt_plugin.training.progress_bar import ProgressBar
from compsrt_plugin.training.resume_check import Change, changes, settings
from compsrt_plugin.training.states import write_state
from compsrt_plugin.training.task import Outcome, Task
from compsrt_plugin.training.trainer import Trainer

COUNTERS = ("last_epoch", "_step_count", "_last_lr")  # of a schedule's state; the rest follows from the option file

ScoreSet = Callable[[Any, int, Any, bool], DatasetScores | None]
"""(loader, iteration, TensorBoard writer or None, whether images are saved) -> scores; None if no image was found."""


class Stopped(Exception):
    """A stop request arrived while held-out images were scored."""


class TrainingRun:
    """Run the iterations of a task, select the result, and write states from which the run resumes exactly.

    BasicSR's loop calls, through the model, `before_iteration`, `step`, and where due `write_state` and `validate`;
    at the end `finish`. A state is written before the validation of its iteration, and a resumed run begins with the
    validation that is still due.

    Args:
        opt: BasicSR's parsed options, with a checked `train:` block.
        task: what is trained.
        optimizers, schedulers: BasicSR's lists, which the model fills after `begin`.
        score: scores the network on one held-out data set.

    Attributes:
        trainer: the iterations; None before `begin`, and where there are none (`total_iter: 0`).
        held_out: the held-out data sets.
        finished: whether the result is written; the network is then what the file holds.
        result_path: the file that the run ends with.
    """

    def __init__(
        self,
        opt: dict[str, Any],
        task: Task,
        optimizers: Sequence[Optimizer],
        schedulers: Sequence[Any],
        score: ScoreSet,
    ) -> None:
        self.opt, self.task = opt, task
        self.total = int(opt["train"]["total_iter"])
        self.held_out = HeldOutSets(opt)
        self.trainer: Trainer | None = None
        self.finished = False
        self.result_path = Path(opt["path"]["models"]) / f"{opt['name']}.safetensors"
        self._optimizers, self._schedulers, self._score = optimizers, schedulers, score
        self._bar: ProgressBar | None = None
        self._changed: Sequence[Change] = ()
        self._written = -1  # iteration of the last state

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a state must have in common with the run that resumes from it, apart from what `changes` allows.

        Computed once: files may be replaced during the run, and a teacher may be large.
        """
        return {**self.task.identity(), **settings(self.opt)}

    @property
    def selecting(self) -> bool:
        """Whether data sets are scored to select the result, not for the report."""
        return self.trainer is not None and not self.finished

    def begin(self) -> Trainer:
        """Create the trainer of the prepared or restored network."""
        self.trainer = trainer = self.task.trainer(self.opt["train"].get("ema_decay") or 0.0)
        counts = {name: sum(p.numel() for p in of.values()) for name, of in trainer.parameters.kinds.items()}
        get_root_logger().info(f"Distillation: {trainer.distillation.block}; trained: {counts}")
        features = trainer.distillation.features
        if features is not None:
            get_root_logger().info(f"Distillation compares the outputs of {', '.join(features[0].names)}")
        return trainer

    def restore_network(self, state: dict[str, Any]) -> None:
        """Check that a state fits this run and load its network; `begin` and `restore` follow.

        Raises:
            CompSRTError: the state is of another teacher, network, quantization, set of images, or kind of training.
        """
        found = changes(state, self.identity, str(self.opt["path"]["resume_state"]))
        for change in found:
            get_root_logger().info("From iteration {iteration} on {key} is {is}; it was {was} before".format(**change))
        self._changed = [*state["changed"], *found]
        self.task.restore(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the rest of a state that `restore_network` was called with."""
        trainer = self._begun()
        for optimizer in self._optimizers:
            # It has stepped, in another process; torch would warn that the schedule is ahead of it.
            optimizer._opt_called = state["iter"] > 0  # pyright: ignore[reportAttributeAccessIssue]
        trainer.restore(state)
        self.held_out.start = [tuple(row) for row in state["before"]]
        self._written = trainer.iteration

    def before_iteration(self) -> None:
        """Start the progress bar before the first iteration; stop, before any other one, if a signal arrived."""
        trainer = self._begun()
        if self._bar is None:
            self._bar = ProgressBar(self.total, trainer.iteration, self.opt["rank"] == 0)
            trainer.stop_request.listen()
            if trainer.iteration == 0:
                self.write_state()
            self._validate_if_due()
        elif trainer.to_stop:
            self._stop()

    def step(self, optimizer: Optimizer, lq: Tensor, gt: Tensor | None, target: Tensor | None) -> dict[str, float]:
        """Run one iteration; see `Trainer.step`."""
        trainer = self._begun()
        self.task.before_iteration(trainer.iteration + 1)
        try:
            values = trainer.step(optimizer, lq, gt, target)
        except CompSRTError:
            self._close_bar()
            raise
        if self._bar is not None:
            curve = trainer.selection.curve
            self._bar.update(values, curve[-1][1] if curve else None)
        return values

    def validate(self, loader: Any, iteration: int, tb_logger: Any = None, save_images: bool = False) -> None:
        """Score the present candidate on one held-out data set; after the last one, offer it to the selection."""
        trainer = self._begun()
        try:
            with trainer.parameters.candidate_loaded():
                scores = self._score(loader, iteration, tb_logger, save_images)
        except Stopped:
            self._stop()
        complete = self.held_out.add(loader.dataset.opt["name"], scores)
        if not complete:
            return
        if trainer.iteration == 0:
            self.held_out.record_start(complete)
        trainer.offer(mean_psnr(complete), trainer.iteration >= self.task.final_from)
        if self._written == trainer.iteration:
            self.write_state()  # with the scores: a run that resumes from it does not compute them again

    def _validate_if_due(self) -> None:
        trainer = self.trainer
        if trainer is None or trainer.selection.last_scored == trainer.iteration:
            return
        if self.held_out.due(trainer.iteration):
            for loader in self.held_out.loaders:
                self.validate(loader, trainer.iteration)

    def check_stop(self) -> None:
        """Raise `Stopped` if a signal arrived; several processes stop together, at the end of a step."""
        if self.trainer is not None and self.trainer.stop_request.signal and self.opt["world_size"] == 1:
            raise Stopped

    def write_state(self) -> None:
        """Write the training state, in the first process.

        Raises:
            CompSRTError: the disk is full or refuses; earlier states are kept.
        """
        trainer = self._begun()
        self._written = trainer.iteration
        if self.opt["rank"] != 0:
            return
        plain = (int, float, list)
        state = {
            "iter": trainer.iteration,
            "epoch": 0,  # BasicSR's loop has one epoch: draws are numbered
            "self_contained": True,
            "identity": self.identity,
            "changed": list(self._changed),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedulers": [
                {k: v for k, v in schedule.state_dict().items() if isinstance(v, plain)}
                for schedule in self._schedulers
            ],
            "before": list(self.held_out.start),
            **self.task.state(),
            **trainer.state(),
        }
        write_state(Path(self.opt["path"]["training_states"]), trainer.iteration, state)

    def _stop(self) -> NoReturn:
        """Write the state and exit with the code of the signal."""
        trainer = self._begun()
        self.write_state()
        self._close_bar()
        stop = trainer.stop_request
        what = signal.Signals(stop.signal).name if stop.signal else "another process"
        get_root_logger().info(
            f"Stopped by {what} after iteration {trainer.iteration}; resume with the same command and --auto_resume"
        )
        raise SystemExit(stop.exit_code)

    def finish(self) -> None:
        """Write the result: the selected candidate, or the network as prepared if there are no iterations."""
        self._validate_if_due()
        trainer, first = self.trainer, self.opt["rank"] == 0
        if trainer is not None:
            trainer.load_result()
            trainer.stop_request.close()
        self._close_bar()
        self.finished = True
        iterations = trainer.iteration if trainer else 0
        selected = trainer.selection.provenance(iterations) if trainer else None
        self.task.write_result(self.result_path, Outcome(iterations, self._changed, selected, self.identity), first)
        if first and trainer is not None:
            save_curve(Path(self.opt["path"]["experiments_root"]) / "curve.png", trainer)
        wait_for_all()  # the other processes read the file that the first one has written

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _begun(self) -> Trainer:
        assert self.trainer is not None, "begin() comes first"
        return self.trainer


def schedule_counters(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how far each schedule of a state has come; the option file says the rest: a run may be made longer."""
    return [{key: value for key, value in schedule.items() if key in COUNTERS} for schedule in state["schedulers"]]
