"""The blocks we add to BasicSR's option files, typed: `quant:`, `prune:`, `distill:`, `tile:`.

A block that exists is right: building one with a wrong value, or from a mapping with an unknown key, raises a
`CompSRTError` that names the very key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from compsrt_plugin.config.checks import Check, choice, flag, mapping, number, optional, per_pattern, text, whole
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant.fake import CODES
from compsrt_plugin.quant.spec import GRANULARITIES, MAX_BITS, MIN_BITS
from compsrt_plugin.quant.transforms import TRANSFORMS

AS_RECIPE = "recipe"  # the value of `conv_bits`, `conditioning` and the like that leaves the choice to the recipe
ROUNDINGS = ("nearest", "gptq")
B = TypeVar("B", bound="Block")


def option(default: Any, check: Check) -> Any:
    """Declare a dataclass field with its default and what its value must be."""
    return field(default=default, metadata={"check": check})


class Block:
    """Base of the typed blocks (all frozen dataclasses): checks every field when built."""

    where: ClassVar[str]  # dotted name of the block in the option file

    def __post_init__(self) -> None:
        for entry in fields(self):  # pyright: ignore[reportArgumentType]
            if "check" in entry.metadata:
                entry.metadata["check"](f"{self.where}.{entry.name}", getattr(self, entry.name))

    @classmethod
    def from_dict(cls: type[B], values: Any) -> B:
        """Build the block from what the option file holds there; null and `{}` mean all defaults.

        Raises:
            CompSRTError: not a mapping, an unknown key (the nearest is offered), or a wrong value.
        """
        values = {} if values is None else values
        if not isinstance(values, Mapping):
            raise CompSRTError(f"{cls.where} is {values!r}", allowed="a block of keys")
        known = {entry.name: entry for entry in fields(cls)}  # pyright: ignore[reportArgumentType]
        built = {}
        for key, value in values.items():
            if key not in known:
                raise unknown_name(f"key in {cls.where}:", key, known)
            inner = known[key].metadata.get("block")
            built[key] = inner.from_dict(value) if inner else value
        return cls(**built)


def _bound_searches() -> Iterable[str]:
    from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES  # asked late: anyone may register another

    return BOUND_SEARCHES.keys()


@dataclass(frozen=True)
class TensorBlock(Block):
    """How one kind of tensor is quantized; null leaves the recipe's value.

    Attributes:
        bits: code width, 2 to 8.
        transform: `none`, `hadamard` (along the last axis), or one of those of docs/transforms.md.
        granularity: `per_tensor`; of weights also `per_channel` (one scale per output row), of activations `per_token`
            (scales in units of each token's largest magnitude, which is taken when it is quantized).
        search: name of a bound search.
        scalar_decomposition: whether α and β are trained beside the bounds.
        codes: `strict` (at most 2^bits codes) or `paper` (as published, not limited).
        aligned_zero_point: whether the zero point is a whole number of quarter scales, which makes masks free in the
            engine; where there is a `prune:` block, weights have it unless this says false.
    """

    bits: int | None = option(None, optional(whole(MIN_BITS, MAX_BITS)))
    transform: str | None = option(None, optional(choice(lambda: TRANSFORMS)))
    granularity: str | None = option(None, optional(choice(lambda: GRANULARITIES)))
    search: str | None = option(None, optional(choice(_bound_searches, own=True)))
    scalar_decomposition: bool | None = option(None, optional(flag()))
    codes: str | None = option(None, optional(choice(lambda: CODES)))
    aligned_zero_point: bool | None = option(None, optional(flag()))

    def given(self) -> dict[str, Any]:
        """Return the values that are set, those that differ from the recipe's."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class WeightBlock(TensorBlock):
    """`quant.weight`: every linear weight."""

    where = "quant.weight"


@dataclass(frozen=True)
class ActivationBlock(TensorBlock):
    """`quant.activation`: every linear input and attention operand."""

    where = "quant.activation"


@dataclass(frozen=True)
class OverrideBlock(TensorBlock):
    """One entry of `quant.overrides`: what differs for the layers whose name matches its pattern.

    Attributes:
        keep: true keeps full precision there.
    """

    where = "quant.overrides"

    keep: bool | None = option(None, optional(flag()))


def _override(key: str, value: Any) -> None:
    class Here(OverrideBlock):
        where = key  # so that an error names the pattern

    Here.from_dict(value)


@dataclass(frozen=True)
class CalibrationBlock(Block):
    """`quant.calibration`: the pictures on which bounds are searched.

    Attributes:
        patches: number of low-resolution patches.
        patch_size: their width and height in low-resolution pixels.
    """

    where = "quant.calibration"

    patches: int = option(32, whole(1))
    patch_size: int = option(64, whole(8))


@dataclass(frozen=True)
class GuardBlock(Block):
    """`quant.guard`: more bits for activations whose quantization would make too much of the output's error.

    Attributes:
        times_mean: how many times the mean of all activations' errors one of them may make; errors are parts of the
            output's error, estimated on calibration patches.
        bits: the most that an activation may get.
    """

    where = "quant.guard"

    times_mean: float = option(1.5, number(1))
    bits: int = option(8, whole(MIN_BITS, MAX_BITS))


def _guard(_key: str, value: Any) -> None:
    if value is not None and value != AS_RECIPE:
        GuardBlock.from_dict(value)


def _conv_bits(key: str, value: Any) -> None:
    if value != AS_RECIPE:
        optional(whole(MIN_BITS, MAX_BITS))(key, value)


def _switch(key: str, value: Any) -> None:
    if value != AS_RECIPE:
        flag()(key, value)


def _conditioning(key: str, value: Any) -> None:
    if value != AS_RECIPE:
        optional(number(0, below=1, above=True))(key, value)


@dataclass(frozen=True)
class QuantBlock(Block):
    """`quant:`, how the network is quantized: a recipe, and what differs from it.

    Attributes:
        recipe: name of a set of values, see `recipes.RECIPES`.
        bits: code width of weights and activations, 2 to 8.
        weight: what differs for linear weights.
        activation: what differs for linear inputs and attention operands.
        conv_bits: code width of convolution weights; null keeps them in full precision, `recipe` leaves it
            to the recipe.
        conv_input_bits: code width of the inputs of those convolutions; null keeps them in full precision.
        conditioning: lower the condition numbers of linear weights before bounds are searched, while each layer's
            outputs on calibration patches move by at most this share of their norm; null leaves the weights,
            `recipe` leaves it to the recipe.
        rounding: `nearest`, or `gptq`, which once bounds are searched picks codes of linear weights whose errors make
            up for each other on calibration patches; `recipe` leaves it to the recipe.
        equalization: before bounds are searched, shift and scale the channels of the inputs of linear layers so that
            quantization costs least, where a norm takes that in and the full-precision network stays the same;
            `recipe` leaves it to the recipe.
        bias_correction: take the mean error of the output on calibration patches off the last layer's bias, after the
            bound search and of every candidate for the result; `recipe` leaves it to the recipe.
        guard: give more bits to activations that stand out by their part in the output's error, once bounds are
            searched: `{times_mean: 1.5, bits: 8}`; null gives none, `recipe` leaves it to the recipe.
        overrides: layer-name pattern (shell style, `layers.0.*.fc2`) to what differs there; later ones win.
        calibration: the pictures on which bounds are searched.
    """

    where = "quant"

    recipe: str = option("plus", text())
    bits: int = option(4, whole(MIN_BITS, MAX_BITS))
    weight: WeightBlock = field(default_factory=WeightBlock, metadata={"block": WeightBlock})
    activation: ActivationBlock = field(default_factory=ActivationBlock, metadata={"block": ActivationBlock})
    conv_bits: int | str | None = option(AS_RECIPE, _conv_bits)
    conv_input_bits: int | None = option(None, optional(whole(MIN_BITS, MAX_BITS)))
    conditioning: float | str | None = option(AS_RECIPE, _conditioning)
    rounding: str = option(AS_RECIPE, choice(lambda: (*ROUNDINGS, AS_RECIPE)))
    equalization: bool | str = option(AS_RECIPE, _switch)
    bias_correction: bool | str = option(AS_RECIPE, _switch)
    guard: Mapping[str, Any] | str | None = option(AS_RECIPE, _guard)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"check": per_pattern(_override)})
    calibration: CalibrationBlock = field(default_factory=CalibrationBlock, metadata={"block": CalibrationBlock})


@dataclass(frozen=True)
class PruneBlock(Block):
    """`prune:`, which weights become zero before bounds are searched (in the transformed domain).

    Attributes:
        hook: name of a pruning hook; held against the registry when the model is built.
        ratio: share of each layer's weights that becomes zero, from 0 to below 1; null for `n_m`, whose n and m
            say it.
        layers: layer-name pattern to its own ratio; later ones win.
        scope: `tensor` prunes that share of each layer, `global` of all together.
        options: of the hook, such as `{n: 2, m: 4}` of `n_m` or `{axis: rows}` of `channel`.
        compensate: whether the weights that stay take over what the pruned did (OBC, SparseGPT).
        start, end, every: iterations of calibration at which the share starts to grow, is reached, and how many
            lie between two steps; `end: 0` prunes at once, before bounds are searched.
        curve: `cubic` (Zhu & Gupta) or `linear` growth.
    """

    where = "prune"

    hook: str = option("magnitude", text())
    ratio: float | None = option(None, optional(number(0, below=1)))
    layers: Mapping[str, float] = field(default_factory=dict, metadata={"check": per_pattern(number(0, below=1))})
    scope: str = option("tensor", choice(lambda: ("tensor", "global")))
    options: Mapping[str, Any] = field(default_factory=dict, metadata={"check": mapping()})
    compensate: bool = option(False, flag())
    start: int = option(0, whole(0))
    end: int = option(0, whole(0))
    every: int = option(100, whole(1))
    curve: str = option("cubic", choice(lambda: ("cubic", "linear")))


@dataclass(frozen=True)
class DistillBlock(Block):
    """`distill:`, the loss by which bounds are calibrated (2DQuant and CompSRT call it DQC).

        L = L1(O_q, O_f) + feature_weight · Σ_k MSE(F_q^k / ‖F_q^k‖, F_f^k / ‖F_f^k‖)

    O is the picture, F^k the output of residual group k, q the quantized student and f the full-precision
    teacher. Iterations, optimizer and schedule are BasicSR's (`train.total_iter`, `optim_g`, `scheduler`,
    `ema_decay`); `optim_g.lr` is that of the bounds.

    Attributes:
        feature_weight: weight of the feature term, 5 as published; 0 leaves it out.
        features: name pattern of the modules whose outputs the feature term compares; null: `layers.*.residual_group`
            where there are such (SwinIR and its kin), else the largest series of equal modules.
        target_weight: weight of a further term, L1 to the original picture; 0 (as published) leaves it out.
        gradient_clip: gradients are clipped to ± this value; null leaves them.
        accumulate: number of parts a batch is run in, one after the other; the result is that of the whole batch.
        relative_lr: learning rates of bounds, α and β count in units of each quantizer's first range u - l, not in
            those of the tensor.
        lr_decomposition: learning rate of α and β; null means `optim_g.lr`.
        train_weights: whether all weights of the network are trained too; published methods keep them.
        lr_weights: their learning rate.
    """

    where = "distill"

    feature_weight: float = option(5.0, number(0))
    features: str | None = option(None, optional(text()))
    target_weight: float = option(0.0, number(0))
    gradient_clip: float | None = option(1.0, optional(number(0, above=True)))
    accumulate: int = option(1, whole(1))
    relative_lr: bool = option(False, flag())
    lr_decomposition: float | None = option(None, optional(number(0)))
    train_weights: bool = option(False, flag())
    lr_weights: float = option(1e-5, number(0))


@dataclass(frozen=True)
class TileBlock(Block):
    """`tile:`, how large pictures are cut; without it they are cut only where memory would not suffice.

    Attributes:
        size: height and width of what the network sees at once, in low-resolution pixels.
        overlap: pixels that a tile sees beyond the part of it that is kept, on each side; below half of `size`.
    """

    where = "tile"

    size: int = option(256, whole(1))
    overlap: int = option(16, whole(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.overlap >= self.size:
            raise CompSRTError(f"tile.overlap is {self.overlap}", allowed=f"0 to below half of tile.size {self.size}")
