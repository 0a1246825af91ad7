"""Named sets of quantization values: `quant: {recipe: compsrt, bits: 3}`; every value can be overridden."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compsrt_plugin.config.schema import AS_RECIPE, CalibrationBlock, DistillBlock, GuardBlock, QuantBlock
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant.spec import NetworkSpec


@dataclass(frozen=True)
class Recipe:
    """A documented set of values.

    Attributes:
        about: one line on what it is and where it comes from.
        values: fields of a `NetworkSpec`, all but the bits.
        conditioning: `quant.conditioning`; None leaves the weights as they are.
        rounding: of linear weights, `nearest` or `gptq` (`quant.rounding`).
        equalization, bias_correction: see `quant.equalization` and `quant.bias_correction`.
        guard: see `quant.guard`; None gives no activation more bits.
        distill: fields of the `distill:` block that differ from its defaults, which are the published method's.
    """

    about: str
    values: Mapping[str, Any]
    conditioning: float | None = None
    rounding: str = "nearest"
    equalization: bool = False
    bias_correction: bool = False
    guard: GuardBlock | None = None
    distill: Mapping[str, Any] = field(default_factory=dict)


def _tensor(transform: str, search: str, scalar_decomposition: bool, codes: str = "strict") -> dict[str, Any]:
    return {
        "transform": transform,
        "granularity": "per_tensor",
        "search": search,
        "scalar_decomposition": scalar_decomposition,
        "codes": codes,
    }


def _same_for_all(tensor: dict[str, Any], conv_bits: int | None) -> dict[str, Any]:
    return {"weight": tensor, "activation": tensor, "conv_bits": conv_bits, "overrides": {}}


TWO_D_QUANT = {
    **_same_for_all(_tensor("none", "dobi", False), conv_bits=None),
    "overrides": {
        "*.map": {"search": "dobi_one_sided"},
        "*.fc2.input": {"search": "dobi_one_sided"},
    },
}

RECIPES: dict[str, Recipe] = {
    "minmax": Recipe(
        "bounds only: the smallest and largest value; no transform",
        _same_for_all(_tensor("none", "minmax", False), conv_bits=8),
    ),
    "percentile": Recipe(
        "bounds only: percentiles, so that single outliers do not count; no transform",
        _same_for_all(_tensor("none", "percentile", False), conv_bits=8),
    ),
    "dobi": Recipe(
        "bounds only: the pair with the smallest error, by 2DQuant's search; no transform",
        _same_for_all(_tensor("none", "dobi", False), conv_bits=8),
    ),
    "2dquant": Recipe(
        "2DQuant (arXiv 2406.06649): no transform; the search moves both ends, or the upper one only where "
        "values are one-sided (softmax map, GELU output), as the paper describes; convolutions kept",
        TWO_D_QUANT,
    ),
    "condiquant": Recipe(
        "our reading of CondiQuant (arXiv 2502.15478, no code public): weights are changed first, to lower condition "
        "numbers with the same outputs on calibration patches, then as 2dquant",
        TWO_D_QUANT,
        conditioning=0.01,
    ),
    "compsrt": Recipe(
        "CompSRT (arXiv 2601.21069) at honest bits: Hadamard, two-sided search, scalar decomposition, at "
        "most 2^bits codes; convolutions at 8 bits",
        _same_for_all(_tensor("hadamard", "dobi", True), conv_bits=8),
    ),
    "plus": Recipe(
        "CompSRT and more, at honest bits: signs before the Hadamard transform, which spread the mean; a scale for "
        "each output channel of a weight, and one for each token of an activation, from its largest magnitude; the "
        "softmax map without the one Hadamard coefficient that is known; convolutions at 8 bits; inputs of linear "
        "layers shifted and scaled by the norms before them; weights rounded so that errors make up for each other "
        "(GPTQ); the mean of the output put right; distillation trains the weights too",
        {
            "weight": {**_tensor("hadamard_signed", "dobi", False), "granularity": "per_channel"},
            "activation": {**_tensor("hadamard_signed", "dobi", True), "granularity": "per_token"},
            "conv_bits": 8,
            "overrides": {"*.map": {"transform": "hadamard_softmax"}},
        },
        rounding="gptq",
        equalization=True,
        bias_correction=True,
        guard=GuardBlock(),
        # Bounds move in units of their range: one learning rate then fits tensors of any size.
        distill={"train_weights": True, "lr_weights": 2e-4, "relative_lr": True},
    ),
    "compsrt-paper": Recipe(
        "CompSRT as published: codes are not limited to 2^bits; convolutions kept",
        _same_for_all(_tensor("hadamard", "dobi", True, codes="paper"), conv_bits=None),
    ),
}


@dataclass(frozen=True)
class QuantOptions:
    """A `quant:` block with everything settled.

    Attributes:
        recipe: name of the recipe it came from.
        bits: nominal code width; layers may differ by override.
        spec: how each tensor is quantized.
        calibration: the pictures on which bounds are searched.
        conditioning: by how much a layer's outputs may move when its weight's condition number is lowered before;
            None leaves the weights.
        rounding: how codes of linear weights are picked once bounds are searched, `nearest` or `gptq`.
        equalization: whether norms shift and scale the inputs of linear layers, see `quant.equalization`.
        bias_correction: whether the last bias takes off the output's mean error.
        guard: how much of the output's error one activation may make before it gets more bits; None: any part.
    """

    recipe: str
    bits: int
    spec: NetworkSpec
    calibration: CalibrationBlock
    conditioning: float | None = None
    rounding: str = "nearest"
    equalization: bool = False
    bias_correction: bool = False
    guard: GuardBlock | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, for the log and the checkpoint's header."""
        return {
            "recipe": self.recipe,
            "bits": self.bits,
            "spec": self.spec.to_dict(),
            "calibration": dataclasses.asdict(self.calibration),
            "conditioning": self.conditioning,
            "rounding": self.rounding,
            "equalization": self.equalization,
            "bias_correction": self.bias_correction,
            "guard": None if self.guard is None else dataclasses.asdict(self.guard),
        }


def resolve_distill(recipe: str, distill_block: Mapping[str, Any] | None) -> DistillBlock:
    """Merge a `distill:` block over what the recipe of that name says about distillation.

    Raises:
        CompSRTError: an unknown key or a wrong value; names the key.

    >>> resolve_distill("plus", None).train_weights, resolve_distill("compsrt", None).train_weights
    (True, False)
    """
    given = DistillBlock.from_dict(distill_block)  # on its own first, so that it is refused if it is no block
    ours = {key: value for key, value in RECIPES[recipe].distill.items() if key not in (distill_block or {})}
    return dataclasses.replace(given, **ours)


def resolve(quant_block: Mapping[str, Any] | None, pruned: bool = False) -> QuantOptions:
    """Merge a `quant:` block over its recipe.

    Args:
        quant_block: the block as the option file holds it; null means all defaults.
        pruned: whether there is a `prune:` block: strict weights then have aligned zero points by default.

    Raises:
        CompSRTError: an unknown key, name or a wrong value; names the key.

    >>> options = resolve({"recipe": "compsrt", "bits": 3, "activation": {"bits": 4}})
    >>> options.spec.weight.bits, options.spec.activation.bits, options.spec.weight.transform
    (3, 4, 'hadamard')
    """
    block = QuantBlock.from_dict(quant_block)
    if block.recipe not in RECIPES:
        raise unknown_name("quant.recipe:", block.recipe, RECIPES)
    values = RECIPES[block.recipe].values
    overrides = {pattern: dict(fields) for pattern, fields in values["overrides"].items()}
    for pattern, fields in block.overrides.items():
        # re-inserted, since of two patterns that match, the later one wins
        overrides[pattern] = {**overrides.pop(pattern, {}), **(fields or {})}
    weight = {**values["weight"], "bits": block.bits, **block.weight.given()}
    weight.setdefault("aligned_zero_point", pruned and weight["codes"] == "strict")
    spec = NetworkSpec.from_dict(
        {
            "weight": weight,
            "activation": {**values["activation"], "bits": block.bits, **block.activation.given()},
            "conv_bits": values["conv_bits"] if block.conv_bits == AS_RECIPE else block.conv_bits,
            "conv_input_bits": block.conv_input_bits,
            "overrides": overrides,
            "trunk_pointwise": "conv",
        }
    )
    recipe = RECIPES[block.recipe]
    conditioning = recipe.conditioning if isinstance(block.conditioning, str) else block.conditioning
    rounding = recipe.rounding if block.rounding == AS_RECIPE else block.rounding
    if rounding == "gptq" and spec.weight.codes == "paper":
        if block.rounding != AS_RECIPE:
            raise CompSRTError("quant.rounding is gptq and codes of weights are paper", hint="take codes: strict")
        rounding = "nearest"
    return QuantOptions(
        block.recipe,
        block.bits,
        spec,
        block.calibration,
        conditioning,
        rounding,
        equalization=recipe.equalization if isinstance(block.equalization, str) else block.equalization,
        bias_correction=recipe.bias_correction if isinstance(block.bias_correction, str) else block.bias_correction,
        guard=_guard(recipe, block),
    )


def _guard(recipe: Recipe, block: QuantBlock) -> GuardBlock | None:
    if isinstance(block.guard, str):
        return recipe.guard
    return None if block.guard is None else GuardBlock.from_dict(block.guard)
