"""Settle a `quant:` block: every value decided, by the block or by its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from compsrt_plugin.config.blocks import AS_RECIPE, CalibrationBlock, DistillBlock, QuantBlock
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.quant.passes import PASSES, Pass
from compsrt_plugin.quant.spec import NetworkSpec

FULL_PRECISION = {"target_weight": 1.0}  # `distill:` without `quant:`: the network learns from the originals


@dataclass(frozen=True)
class QuantOptions:
    """Hold a `quant:` block with every value decided.

    Attributes:
        recipe: name of the recipe it came from.
        bits: nominal code width; layers may differ by override.
        spec: how each tensor is quantized.
        calibration: the patches on which bounds are searched.
        passes: every calibration pass by name -> its value.
    """

    recipe: str
    bits: int
    spec: NetworkSpec
    calibration: CalibrationBlock
    passes: Mapping[str, Any]

    @property
    def active(self) -> list[Pass]:
        """The passes that run, in the order of the registry."""
        return [PASSES[name] for name, value in self.passes.items() if value != PASSES[name].off]

    @property
    def changes_weights(self) -> bool:
        """Whether a pass changes weights by more than their rounding."""
        return any(step.changes_weights for step in self.active)

    @property
    def needs_teacher(self) -> bool:
        """Whether a pass runs the full-precision network."""
        return any(step.needs_teacher for step in self.active)

    def plain_passes(self) -> dict[str, Any]:
        """Return the values of all passes as plain values."""
        return {name: msgspec.to_builtins(value) for name, value in self.passes.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, for the log and the checkpoint's header."""
        return {
            "recipe": self.recipe,
            "bits": self.bits,
            "spec": self.spec.to_dict(),
            "calibration": msgspec.structs.asdict(self.calibration),
            **self.plain_passes(),
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
            "trunk_pointwise": NetworkSpec.trunk_pointwise,
            "image_sums": NetworkSpec.image_sums,
        }
    )

    def settled(step: Pass) -> Any:
        value = block.passes.get(step.name, AS_RECIPE)
        given = value != AS_RECIPE
        return step.settle(spec, value if given else recipe.passes.get(step.name, step.off), given)

    passes = {name: settled(step) for name, step in PASSES.items()}
    return QuantOptions(block.recipe, block.bits, spec, block.calibration, passes)
