"""Stopping and going on: what `CompSRTModel` writes between two iterations, and how it takes that up again."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger

from compsrt_plugin.config.recipes import QuantOptions
from compsrt_plugin.quant import Mode, quantized_layers, set_mode
from compsrt_plugin.quant.sensitivity import give_bits
from compsrt_plugin.training.progress_bar import Progress
from compsrt_plugin.training.resume_check import Change, changes, settings
from compsrt_plugin.training.states import write_state
from compsrt_plugin.training.trainer import Training

COUNTERS = ("last_epoch", "_step_count", "_last_lr")  # of a schedule's state; the rest follows from the option file


class ResumableModel(SRModel):
    """A model whose training can be stopped between two iterations and ends in the same bits.

    Attributes:
        quant: the settled `quant:` block; None only in a test.
        teacher_source: file of the full-precision weights.
        training: the iterations; None where there are none (`total_iter: 0`), and in a test.
        progress: its bar, from the first iteration on.
        before: data set, picture, its PSNR and SSIM before the first iteration.
        raised: activations that `quant.guard` gave more bits -> their bits.
        changed: what was changed in the options at which iteration, in order.
        written: the iteration of the last state written; -1 before there is one.
    """

    quant: QuantOptions | None
    teacher_source: str
    training: Training | None = None
    progress: Progress | None = None
    before: Sequence[tuple[str, str, float, float | None]] = ()
    raised: Mapping[str, int] = MappingProxyType({})
    changed: Sequence[Change] = ()
    written = -1

    def begin(self) -> None:
        """Make `training`, `optimizers` and `schedulers` from the network as it is."""
        raise NotImplementedError

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take over a state that `save` wrote.

        Raises:
            CompSRTError: it was written with another teacher, network, quantization, pictures or way of training.
        """
        found = changes(resume_state, self.identity, str(self.opt["path"]["resume_state"]))
        for change in found:
            get_root_logger().info(
                "From iteration {iteration} on {key} is {is}, instead of {was} before".format(**change)
            )
        self.changed = [*resume_state["changed"], *found]
        network, values = self.net_g, resume_state["network"]
        self.raised = resume_state.get("raised", {})
        give_bits(network, self.raised)
        for _, layer in quantized_layers(network):
            layer.weight_mask = None  # the state has the masks of its iteration
        network.load_state_dict(values)
        set_mode(network, Mode.ON)
        self.begin()
        assert self.training is not None
        # How far a schedule has come is the state's, where it leads the option file's: a run may be made longer.
        kept = [{key: value for key, value in s.items() if key in COUNTERS} for s in resume_state["schedulers"]]
        super().resume_training({**resume_state, "schedulers": kept})
        for optimizer in self.optimizers:
            # It has stepped, in another process; torch would warn that the schedule goes ahead of it.
            optimizer._opt_called = resume_state["iter"] > 0  # pyright: ignore[reportAttributeAccessIssue]
        self.training.restore(resume_state)
        self.before = [tuple(row) for row in resume_state["before"]]
        self.written = self.training.iteration

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a state must have in common with the run that goes on from it, apart from what `changes` allows.

        It is made once: files may be replaced while a run goes on, and a teacher may be large.
        """
        return {**self.own_identity(), **settings(self.opt)}

    def own_identity(self) -> dict[str, Any]:
        """Return the model's own part of `identity`; `teacher` is the SHA-256 of a file."""
        assert self.quant is not None
        return {
            "teacher": sha256(self.teacher_source),
            "network_g": {k: v for k, v in self.opt["network_g"].items() if k != "quant"},
            "quant": self.quant.to_dict(),
            "prune": self.opt.get("prune"),
            "distill": self.opt.get("distill"),
        }

    def stop(self) -> None:
        """Write the state and leave as the signal asked."""
        assert self.training is not None and self.progress is not None
        self.write_state()
        self.progress.close()
        stop = self.training.stop
        what = signal.Signals(stop.signal).name if stop.signal else "another process"
        get_root_logger().info(
            f"Stopped by {what} after iteration {self.training.iteration}; "
            "the same command with --auto_resume goes on from there"
        )
        raise SystemExit(stop.exit_code)

    def write_state(self) -> None:
        """Write the training state, if this is the first process.

        Raises:
            CompSRTError: the disk is full or refuses; earlier states are as they were.
        """
        assert self.training is not None
        self.written = self.training.iteration
        if self.opt["rank"] != 0:
            return
        plain = (int, float, list)
        state = {
            "iter": self.training.iteration,
            "epoch": 0,  # of BasicSR's loop, which has but one: draws are numbered through
            "self_contained": True,
            "identity": self.identity,
            "changed": list(self.changed),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [
                {k: v for k, v in schedule.state_dict().items() if isinstance(v, plain)} for schedule in self.schedulers
            ],
            "raised": dict(self.raised),
            "before": list(self.before),
            **self.training.state(),
        }
        write_state(Path(self.opt["path"]["training_states"]), self.training.iteration, state)


def sha256(path: str | None) -> str | None:
    """Return the SHA-256 of a file; None without one."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
