"""The blocks we add to BasicSR's option files: `quant:`, `prune:`, `distill:`, `tile:`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect as kinds
from msgspec import Meta, field

from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.config.typed import Block
from compsrt_plugin.config.values import (
    Bits,
    FromOne,
    FromZero,
    NotNegative,
    Positive,
    Share,
    Text,
    names,
)
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES
from compsrt_plugin.quant.fake import CODES
from compsrt_plugin.quant.passes import PASSES
from compsrt_plugin.quant.spec import GRANULARITIES
from compsrt_plugin.quant.transforms import TRANSFORMS

AS_RECIPE = "recipe"
"""The value that leaves a key to the recipe."""
AsRecipe = Literal["recipe"]
Patterns = Meta(extra={"allowed": "a mapping from layer-name patterns"})


def _pruning_hooks() -> Iterable[str]:
    from compsrt_plugin.pruning import PRUNING_REGISTRY

    return [name for name, _ in PRUNING_REGISTRY]


Transform = Annotated[str, names(lambda: TRANSFORMS)]
Granularity = Annotated[str, names(lambda: GRANULARITIES)]
Codes = Annotated[str, names(lambda: CODES)]
BoundSearch = Annotated[str, names(lambda: BOUND_SEARCHES, own=True)]
RecipeName = Annotated[str, names(lambda: RECIPES)]
PruningHook = Annotated[str, names(_pruning_hooks, own=True)]
HookOptions = Annotated[dict[str, Any], Meta(extra={"allowed": "a mapping such as {n: 2, m: 4}"})]


class TensorBlock(Block, frozen=True, kw_only=True):
    """How one kind of tensor is quantized; null leaves the recipe's value.

    Attributes:
        bits: code width.
        transform: `none`, `hadamard` (along the last axis), or another of docs/transforms.md.
        granularity: `per_tensor`; for weights also `per_channel` (one scale per output row), for activations
            `per_token` (one scale per token, in units of the token's largest magnitude).
        search: name of a bound search.
        scalar_decomposition: train α and β beside the bounds.
        codes: `strict` (at most 2^bits codes) or `paper` (as published, not limited).
        aligned_zero_point: make the zero point a multiple of a quarter of the scale, which makes pruning masks free in
            the engine. With a `prune:` block the default for weights is true.
    """

    bits: Bits | None = None
    transform: Transform | None = None
    granularity: Granularity | None = None
    search: BoundSearch | None = None
    scalar_decomposition: bool | None = None
    codes: Codes | None = None
    aligned_zero_point: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return the values that are set: those that differ from the recipe's."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class WeightBlock(TensorBlock, frozen=True, kw_only=True):
    """`quant.weight`: every weight of a linear layer."""

    where = "quant.weight"


class ActivationBlock(TensorBlock, frozen=True, kw_only=True):
    """`quant.activation`: every input of a linear layer and every attention operand."""

    where = "quant.activation"


class OverrideBlock(TensorBlock, frozen=True, kw_only=True):
    """One entry of `quant.overrides`: what differs for the layers whose name matches its pattern.

    Attributes:
        keep: true keeps full precision.
    """

    where = "quant.overrides"

    keep: bool | None = None


class CalibrationBlock(Block, frozen=True, kw_only=True):
    """`quant.calibration`: the patches on which bounds are searched.

    Attributes:
        patches: number of low-resolution patches.
        patch_size: their width and height, in low-resolution pixels.
    """

    where = "quant.calibration"

    patches: FromOne = 32
    patch_size: Annotated[int, Meta(ge=8)] = 64


def _pass_keys() -> dict[str, kinds.Field]:
    """Return the keys of the calibration passes that are registered now."""
    return {
        name: kinds.Field(
            name,
            name,
            kinds.type_info(Annotated[step.kind | AsRecipe, Meta(extra={"about": step.about})]),
            required=False,
            default=AS_RECIPE,
        )
        for name, step in PASSES.items()
    }


Passes = Annotated[dict[str, Any], Meta(extra={"keys": _pass_keys})]


class QuantBlock(Block, frozen=True, kw_only=True):
    """`quant:`, how the network is quantized: a recipe, and what differs from it.

    Attributes:
        recipe: name of a set of values.
        bits: code width of weights and activations.
        weight: what differs for weights of linear layers.
        activation: what differs for inputs of linear layers and attention operands.
        conv_bits: code width of convolution weights; null keeps them in full precision.
        conv_input_bits: code width of the inputs of these convolutions; null keeps them in full precision.
        passes: calibration passes that are given -> their values.
        overrides: layer-name pattern (shell style, `layers.0.*.fc2`) to what differs there; later patterns win.
        calibration: the patches on which bounds are searched.
    """

    where = "quant"

    recipe: RecipeName = "plus"
    bits: Bits = 4
    weight: WeightBlock = field(default_factory=WeightBlock)
    activation: ActivationBlock = field(default_factory=ActivationBlock)
    conv_bits: Bits | AsRecipe | None = AS_RECIPE
    conv_input_bits: Bits | None = None
    passes: Passes = field(default_factory=dict)
    overrides: Annotated[dict[str, OverrideBlock | None], Patterns] = field(default_factory=dict)
    calibration: CalibrationBlock = field(default_factory=CalibrationBlock)


class PruneBlock(Block, frozen=True, kw_only=True):
    """`prune:`, which weights become zero before bounds are searched (in the transformed domain).

    Attributes:
        hook: name of a pruning hook.
        ratio: share of each layer's weights that becomes zero; null for `n_m`, whose n and m set the share.
        layers: layer-name pattern to its own ratio; later patterns win.
        scope: `tensor` prunes this share of each layer, `global` of all layers together.
        options: options of the hook, such as `{n: 2, m: 4}` of `n_m` or `{axis: rows}` of `channel`.
        compensate: let the remaining weights compensate for the pruned ones (OBC, SparseGPT).
        start: iteration at which the share starts to grow.
        end: iteration at which the share reaches `ratio`; 0 prunes at once, before bounds are searched.
        every: iterations between two steps.
        curve: `cubic` (Zhu & Gupta) or `linear` growth.
    """

    where = "prune"

    hook: PruningHook = "magnitude"
    ratio: Share | None = None
    layers: Annotated[dict[str, Share], Patterns] = field(default_factory=dict)
    scope: Literal["tensor", "global"] = "tensor"
    options: HookOptions = field(default_factory=dict)
    compensate: bool = False
    start: FromZero = 0
    end: FromZero = 0
    every: FromOne = 100
    curve: Literal["cubic", "linear"] = "cubic"


class DistillBlock(Block, frozen=True, kw_only=True):
    """`distill:`, the loss by which bounds are calibrated (2DQuant and CompSRT call it DQC).

        L = L1(O_q, O_f) + feature_weight · Σ_k MSE(F_q^k / ‖F_q^k‖, F_f^k / ‖F_f^k‖)

    O is the output image, F^k the output of residual group k, q the quantized student and f the full-precision
    teacher. Iterations, optimizer and schedule are BasicSR's (`train.total_iter`, `optim_g`, `scheduler`,
    `ema_decay`); `optim_g.lr` is the learning rate of the bounds.

    Attributes:
        feature_weight: weight of the feature term, 5 as published; 0 leaves it out.
        features: name pattern of the modules whose outputs the feature term compares; null means
            `layers.*.residual_group` where it matches (SwinIR and its kin), else the largest series of equal modules.
        target_weight: weight of a further term, L1 to the original image; 0 (as published) leaves it out.
        gradient_clip: clip gradients to ± this value; null leaves them.
        accumulate: number of parts in which a batch is run, one after the other; the result is that of the whole batch.
        relative_lr: count learning rates of bounds, α and β in units of each quantizer's first range u - l, not in
            those of the tensor.
        lr_decomposition: learning rate of α and β; null means `optim_g.lr`.
        train_weights: train all weights of the network too; published methods keep them.
        lr_weights: learning rate of the weights.
    """

    where = "distill"

    feature_weight: NotNegative = 5.0
    features: Text | None = None
    target_weight: NotNegative = 0.0
    gradient_clip: Positive | None = 1.0
    accumulate: FromOne = 1
    relative_lr: bool = False
    lr_decomposition: NotNegative | None = None
    train_weights: bool = False
    lr_weights: NotNegative = 1e-5


class TileBlock(Block, frozen=True, kw_only=True):
    """`tile:`, how large images are cut; without it they are cut only where memory would not suffice.

    Attributes:
        size: height and width of what the network sees at once, in low-resolution pixels.
        overlap: pixels that a tile sees on each side beyond the part that is kept; below half of `size`.
    """

    where = "tile"

    size: FromOne = 256
    overlap: FromZero = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.overlap >= self.size:
            raise CompSRTError(f"tile.overlap is {self.overlap}", allowed=f"0 to below half of tile.size {self.size}")
