"""Define the recipes: named sets of quantization values, each of which an option file can override."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compsrt_plugin.quant.passes.guard import GuardBlock


@dataclass(frozen=True)
class Recipe:
    """Hold a documented set of values.

    Attributes:
        about: what it is, and its source.
        values: fields of a `NetworkSpec` other than the bits.
        passes: calibration passes that it runs -> their values.
        distill: fields of the `distill:` block that differ from its defaults, which are those of the papers.
    """

    about: str
    values: Mapping[str, Any]
    passes: Mapping[str, Any] = field(default_factory=dict)
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
        passes={"conditioning": 0.01},
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
        passes={"equalization": True, "guard": GuardBlock(), "rounding": "gptq", "bias_correction": True},
        # Learning rates in units of the range: one rate then fits tensors of any size.
        distill={"train_weights": True, "lr_weights": 2e-4, "relative_lr": True},
    ),
    "compsrt-paper": Recipe(
        "CompSRT as published: codes are not limited to 2^bits; convolutions stay in full precision",
        _same_for_all(_tensor("hadamard", "dobi", True, codes="paper"), conv_bits=None),
    ),
}
