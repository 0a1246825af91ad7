"""Define the recipes: named sets of quantization values, each of which an option file can override."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from compsrt_plugin.config.blocks import CalibrationBlock, DistillBlock, GuardBlock, QuantBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.spec import NetworkSpec

FULL_PRECISION = {"target_weight": 1.0}  # `distill:` without `quant:`: the network learns from the originals
AS_RECIPE = "recipe"  # the value of a key that leaves it to the recipe


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Hold the steps of calibration that a recipe sets and `quant:` may change; the defaults switch each step off.

    Attributes:
        conditioning: largest change of the outputs when weights are conditioned; None leaves the weights unchanged.
        rounding: rounding of linear weights, `nearest` or `gptq`.
        equalization: whether norms shift and scale the inputs of linear layers.
        bias_correction: whether the bias of the last layer is corrected.
        guard: gives sensitive activations more bits; None does not.
    """

    conditioning: float | None = None
    rounding: str = "nearest"
    equalization: bool = False
    bias_correction: bool = False
    guard: GuardBlock | None = None


SWITCHES = tuple(switch.name for switch in dataclasses.fields(Switches))


@dataclass(frozen=True)
class Recipe(Switches):
    """Hold a documented set of values.

    Attributes:
        about: what it is, and its source.
        values: fields of a `NetworkSpec` other than the bits.
        distill: fields of the `distill:` block that differ from its defaults, which are those of the papers.
    """

    about: str
    values: Mapping[str, Any]
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
        "bounds only: percentiles, which ignore single outliers; no transform",
        _same_for_all(_tensor("none", "percentile", False), conv_bits=8),
    ),
    "dobi": Recipe(
        "bounds only: the pair with the smallest error, by 2DQuant's search; no transform",
        _same_for_all(_tensor("none", "dobi", False), conv_bits=8),
    ),
    "2dquant": Recipe(
        "2DQuant (arXiv 2406.06649): no transform; the search moves both ends, or the upper one only where "
        "values are one-sided (softmax map, GELU output), as in the paper; convolutions stay in full precision",
        TWO_D_QUANT,
    ),
    "condiquant": Recipe(
        "our reading of CondiQuant (arXiv 2502.15478, no public code): first lowers the condition numbers of weights "
        "at nearly the same outputs on calibration patches; then as 2dquant",
        TWO_D_QUANT,
        conditioning=0.01,
    ),
    "compsrt": Recipe(
        "CompSRT (arXiv 2601.21069) at honest bits: Hadamard, two-sided search, scalar decomposition, at "
        "most 2^bits codes; convolutions at 8 bits",
        _same_for_all(_tensor("hadamard", "dobi", True), conv_bits=8),
    ),
    "plus": Recipe(
        "CompSRT and more, at honest bits: random signs before the Hadamard transform, which spread the mean; one "
        "scale per output channel of a weight; one scale per token of an activation, from its largest magnitude; the "
        "softmax map without the one Hadamard coefficient that is known; convolutions at 8 bits; equalization by the "
        "preceding norms; GPTQ rounding of weights; bias correction; more bits for activations that the guard finds; "
        "distillation trains the weights too",
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
        # Learning rates in units of the range: one rate then fits tensors of any size.
        distill={"train_weights": True, "lr_weights": 2e-4, "relative_lr": True},
    ),
    "compsrt-paper": Recipe(
        "CompSRT as published: codes are not limited to 2^bits; convolutions stay in full precision",
        _same_for_all(_tensor("hadamard", "dobi", True, codes="paper"), conv_bits=None),
    ),
}


@dataclass(frozen=True)
class QuantOptions(Switches):
    """Hold a `quant:` block with every value decided.

    Attributes:
        recipe: name of the recipe it came from.
        bits: nominal code width; layers may differ by override.
        spec: how each tensor is quantized.
        calibration: the patches on which bounds are searched.
    """

    recipe: str
    bits: int
    spec: NetworkSpec
    calibration: CalibrationBlock

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, for the log and the checkpoint's header."""
        return {
            "recipe": self.recipe,
            "bits": self.bits,
            "spec": self.spec.to_dict(),
            "calibration": msgspec.structs.asdict(self.calibration),
            **{name: msgspec.to_builtins(getattr(self, name)) for name in SWITCHES},
        }


def resolve_distill(recipe: str | None, given: Mapping[str, Any] | None) -> DistillBlock:
    """Return the `distill:` block with the recipe's values for the keys that it lacks.

    Args:
        recipe: name of the recipe; None: the network stays in full precision.
        given: the block as the option file holds it; null means all of the recipe's values.

    Raises:
        CompSRTError: an unknown key or a wrong value; names the key.

    >>> block = resolve_distill("plus", {"lr_weights": 1e-4})
    >>> block.lr_weights, block.train_weights
    (0.0001, True)
    """
    own = FULL_PRECISION if recipe is None else RECIPES[recipe].distill
    if given is None:
        return DistillBlock.from_dict(own)
    return DistillBlock.from_dict({**own, **given} if isinstance(given, Mapping) else given)


def resolve(given: QuantBlock | Mapping[str, Any] | None, pruned: bool = False) -> QuantOptions:
    """Return a `quant:` block with the recipe's values for what it leaves to the recipe.

    Args:
        given: the block, typed or as the option file holds it; null means all defaults.
        pruned: whether there is a `prune:` block: strict weights then have aligned zero points by default.

    Raises:
        CompSRTError: an unknown key, name or a wrong value; names the key.

    >>> options = resolve({"recipe": "compsrt", "bits": 3, "activation": {"bits": 4}})
    >>> options.spec.weight.bits, options.spec.activation.bits, options.spec.weight.transform
    (3, 4, 'hadamard')
    """
    block = given if isinstance(given, QuantBlock) else QuantBlock.from_dict(given)
    recipe = RECIPES[block.recipe]
    values = recipe.values
    overrides = {pattern: dict(fields) for pattern, fields in values["overrides"].items()}
    for pattern, override in block.overrides.items():
        # re-inserted, since of two patterns that match, the later one wins
        overrides[pattern] = {**overrides.pop(pattern, {}), **(override.given() if override else {})}
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

    def settled(name: str) -> Any:
        value = getattr(block, name)
        return getattr(recipe, name) if value == AS_RECIPE else value

    switches = {name: settled(name) for name in SWITCHES}
    if switches["rounding"] == "gptq" and spec.weight.codes != "strict":
        if block.rounding != AS_RECIPE:
            found = f"quant.rounding is gptq and codes of weights are {spec.weight.codes}"
            raise CompSRTError(found, hint="take codes: strict")
        switches["rounding"] = "nearest"
    return QuantOptions(block.recipe, block.bits, spec, block.calibration, **switches)
