"""Whatever happens to a run and its states, in any order, it ends with the bits of one left in peace.

A state machine: runs are stopped or killed at any iteration, states damaged, options changed in ways that are refused
and in ways that may change nothing. `COMPSRT_EXAMPLES=200` draws so many sequences at random; without it a few, always
the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from compsrt_plugin.basicsr_compat.resume import read_state, state_files
from compsrt_plugin.packed import read_packed

from . import tiny_run
from .running import disturbed, packed, train

EXAMPLES = int(os.environ.get("COMPSRT_EXAMPLES", "0"))
TOTAL = 5
BASE: dict[str, Any] = {
    "train__total_iter": TOTAL,
    "train__warmup_iter": 3,
    "val__val_freq": 2,
    "quant__calibration": {"patches": 1, "patch_size": 8},
    "datasets__train__gt_size": 32,
    "datasets__val__centre_patch": 8,
}
SCHEDULE = {"type": "MultiStepLR", "milestones": [2, 4], "gamma": 0.5}
# what of a run must live across a stop: optimizer, warm-up, schedule, average, masks, rounding, ranges of rates
KINDS: list[dict[str, Any]] = [
    {"train__ema_decay": 0.5},
    {"train__scheduler": SCHEDULE, "quant__recipe": "plus", "distill": {"relative_lr": True, "train_weights": True}},
    {"prune": {"hook": "magnitude", "ratio": 0.4, "end": 3, "every": 1}, "datasets__train__keep_in_memory": True},
]
REFUSED: list[dict[str, Any]] = [
    {"train__optim_g__lr": 0.02},
    {"train__optim_g__betas": [0.5, 0.9]},
    {"train__ema_decay": 0.9},
    {"train__warmup_iter": 2},
    {"manual_seed": 7},
    {"datasets__train__batch_size_per_gpu": 1},
    {"datasets__train__use_hflip": False},
    {"datasets__val__subset": "train"},
    {"train__total_iter": 0},
]
BY = st.sampled_from([None, signal.SIGTERM, signal.SIGINT])  # None: killed


def content(folder: Path) -> str:
    """Return a hash of the network in a run's packed file, and of what is told about how it came about."""
    file = read_packed(packed(folder))
    provenance = {k: v for k, v in file.header["provenance"].items() if k != "options"}
    digest = hashlib.sha256(repr(provenance).encode())
    for name in sorted(file.state):
        digest.update(name.encode() + file.state[name].numpy().tobytes())
    return digest.hexdigest()


class Run(RuleBasedStateMachine):
    """A run, its states on disk, and what may befall them."""

    inputs: ClassVar[Path]  # teacher and pictures
    wanted: ClassVar[dict[int, str]] = {}  # kind of run -> what one left in peace ends with
    seen: ClassVar[Counter[str]] = Counter()

    @initialize(kind=st.sampled_from(range(len(KINDS))), iteration=st.integers(2, 3), by=BY)
    def begin(self, kind: int, iteration: int, by: int | None) -> None:
        self.kind = kind
        self.place = Path(tempfile.mkdtemp(dir=self.inputs))
        os.chdir(self.place)
        if self.kind not in self.wanted:
            assert self.run() == 0
            self.wanted[self.kind] = content(self.place)
            shutil.rmtree("experiments")
        self.is_disturbed(iteration, by, 1)

    def run(self, *flags: str, **changes: Any) -> int:
        return train(self.inputs, *flags, **{**BASE, **KINDS[self.kind], **changes})

    @property
    def found(self) -> list[Path]:
        return state_files(self.place / "experiments" / "tiny" / "training_states")

    @property
    def sound(self) -> list[int]:
        """The iterations of the states that can be read."""
        found = []
        for path in self.found:
            try:
                found.append(read_state(path)["iter"])
            except Exception:  # damaged by us
                continue
        return found

    @rule(ahead=st.integers(1, 2), by=BY, often=st.integers(1, 3))
    def is_disturbed(self, ahead: int, by: int | None, often: int) -> None:
        """Let the run go on for some iterations, then kill or stop it in the middle of one."""
        iteration = (self.sound[-1] if self.sound else 0) + ahead
        if self.found and not self.sound:
            return
        if iteration <= TOTAL:
            with disturbed(iteration, by):
                self.seen["killed" if by is None else "stopped"] += 1
                self.run("--auto_resume", logger__save_checkpoint_freq=often, val__save_img=often == 1)

    @precondition(lambda self: len(self.sound) > 1)
    @rule(share=st.floats(0, 0.99))
    def is_cut_off(self, share: float) -> None:
        """Cut the newest state, as a full or broken disk does."""
        self.seen["cut off"] += 1
        whole = self.found[-1].read_bytes()
        self.found[-1].write_bytes(whole[: int(share * len(whole))])

    @precondition(lambda self: bool(self.sound))
    @rule(change=st.sampled_from(REFUSED))
    def is_changed(self, change: dict[str, Any]) -> None:
        """Go on with an option file under which nothing ran: refused, and all is as before."""
        if self.sound == [0] and change == {"train__total_iter": 0}:
            return  # a run of no iterations goes on from none
        self.seen["changed"] += 1
        before = {path.name: path.read_bytes() for path in self.found}
        assert self.run("--auto_resume", **change) == 2
        assert {path.name: path.read_bytes() for path in self.found} == before

    def teardown(self) -> None:
        if not hasattr(self, "place"):
            return
        assert self.run("--auto_resume") == 0
        assert content(self.place) == self.wanted[self.kind]
        os.chdir(self.inputs)
        shutil.rmtree(self.place)


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None) -> Iterator[None]:
    tiny_run.write_inputs(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Run.inputs = tmp_path
    yield


PLANS: list[Callable[[Run], object]] = [
    lambda run: [
        run.begin(0, 3, None),  # killed in the third iteration: states 1 and 2
        run.is_cut_off(0.7),
        run.is_changed(REFUSED[0]),
        run.is_disturbed(2, signal.SIGTERM, 2),
        run.is_cut_off(0.0),
        run.is_disturbed(2, None, 1),
    ],
    lambda run: [run.begin(1, 2, signal.SIGINT), run.is_disturbed(1, None, 1), run.is_disturbed(2, None, 1)],
    lambda run: [run.begin(2, 2, signal.SIGTERM), run.is_cut_off(0.5), run.is_disturbed(2, None, 1)],
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_run_that_was_disturbed_several_times_ends_with_the_same_bits(plan: Callable[[Run], object]) -> None:
    run = Run()
    plan(run)
    run.teardown()


def test_a_run_ends_with_the_same_bits_whatever_happens_to_it() -> None:
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=EXAMPLES or 2,
            stateful_step_count=8 if EXAMPLES else 4,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    sys.stdout.write(f"{dict(Run.seen)}\n")
