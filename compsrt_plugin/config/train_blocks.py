"""The keys of `train:` and of its optimizer and schedule, by the model that reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from compsrt_plugin.config.typed import Block, missing_key
from compsrt_plugin.config.values import CountFromZero, FromOne, FromZero, NotNegative, Positive, Share
from compsrt_plugin.errors import CompSRTError

Warmup = Annotated[float, Meta(ge=-1, multiple_of=1)]
Betas = Annotated[list[Share], Meta(min_length=2, max_length=2)]
Iterations = Annotated[list[FromZero], Meta(min_length=1)]
Periods = Annotated[list[FromOne], Meta(min_length=1)]
Weights = Annotated[list[Positive], Meta(min_length=1)]


class Adam(Block, frozen=True, kw_only=True, tag="Adam", tag_field="type"):
    """`train.optim_g: {type: Adam}`, the one optimizer that BasicSR 1.4.2 knows.

    Attributes:
        lr: learning rate; in `CompSRTModel` that of the bounds.
        weight_decay: L2 penalty.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
        amsgrad: keep the maximum of the running mean of the square.
    """

    where = "train.optim_g"

    lr: Positive
    weight_decay: NotNegative = 0.0
    betas: Betas = field(default_factory=lambda: [0.9, 0.999])
    eps: NotNegative = 1e-8
    amsgrad: bool = False


def _check_weights(what: str, found: int, weights: int) -> None:
    if found != weights:
        raise CompSRTError(f"train.scheduler has {found} {what}, {weights} restart_weights", allowed="as many of each")


class MultiStep(Block, frozen=True, kw_only=True, tag="MultiStepLR", tag_field="type"):
    """`train.scheduler: {type: MultiStepLR}`: the learning rate falls at given iterations.

    Attributes:
        milestones: iterations at which the rate is multiplied by `gamma`.
        gamma: factor at a milestone.
        restarts: iterations at which the rate starts again.
        restart_weights: factor of the rate at each restart.
    """

    where = "train.scheduler"

    milestones: Iterations
    gamma: Positive = 0.1
    restarts: Iterations = field(default_factory=lambda: [0])
    restart_weights: Weights = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights("restarts", len(self.restarts), len(self.restart_weights))


class MultiStepRestart(MultiStep, frozen=True, kw_only=True, tag="MultiStepRestartLR"):
    """`train.scheduler: {type: MultiStepRestartLR}`: another name of the same."""


class Cosine(Block, frozen=True, kw_only=True, tag="CosineAnnealingRestartLR", tag_field="type"):
    """`train.scheduler: {type: CosineAnnealingRestartLR}`: the learning rate falls along a cosine in each period.

    Attributes:
        periods: iterations of each period; left out, there is one of `total_iter`.
        restart_weights: factor of the rate in each period.
        eta_min: rate at the end of a period.
    """

    where = "train.scheduler"

    periods: Periods | UnsetType = UNSET
    restart_weights: Weights = field(default_factory=lambda: [1.0])
    eta_min: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        found = 1 if self.periods is UNSET else len(self.periods)  # pyright: ignore[reportArgumentType]
        _check_weights("periods", found, len(self.restart_weights))


Scheduler = MultiStep | MultiStepRestart | Cosine


class _Iterations(Block, frozen=True, kw_only=True):
    """How long a training runs.

    Attributes:
        total_iter: number of iterations.
        warmup_iter: iterations in which the learning rate grows from 0; -1 for none.
        ema_decay: decay of the running mean of the trained values, which is what is judged and written; null or 0
            takes the values themselves.
    """

    where = "train"

    total_iter: CountFromZero
    warmup_iter: Warmup = -1
    ema_decay: Share | None = None


class CompSRTTrain(_Iterations, frozen=True, kw_only=True):
    """`train:` of `CompSRTModel`.

    Attributes:
        total_iter: number of iterations; 0 searches bounds and distils nothing.
        optim_g: the optimizer; needed unless `total_iter` is 0.
        scheduler: the schedule of the learning rates; needed unless `total_iter` is 0.
    """

    optim_g: Adam | UnsetType = UNSET
    scheduler: Scheduler | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("optim_g", "scheduler"):
            if self.total_iter and getattr(self, name) is UNSET:
                raise missing_key(f"train.{name}")


class TeacherTrain(CompSRTTrain, frozen=True, kw_only=True):
    """`train:` of `CompSRTTeacherModel`.

    Attributes:
        precision: `fp32`, `tf32`, or `bf16` (mixed precision).
        compile: run the iterations through torch.compile.
        teacher_once: compute the outputs of the stronger teacher once, before training.
    """

    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    compile: bool = False
    teacher_once: bool = False


class ForeignTrain(Block, frozen=True, kw_only=True):
    """`train:` of another model."""

    where = "train"

    total_iter: CountFromZero
    warmup_iter: Warmup = -1
    ema_decay: Share = 0


class BasicSRTrain(ForeignTrain, frozen=True, kw_only=True):
    """`train:` of one of BasicSR's models."""

    optim_g: Adam
    scheduler: Scheduler
