"""Which spec the codes in a state dict were made with: the tensors do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.quantizer import holds_values
from compsrt_plugin.quant.spec import QuantSpec


def coded_as(spec: QuantSpec) -> dict[str, Any]:
    """Return what codes cannot be decoded without and no tensor holds, as plain values."""
    return {name: getattr(spec, name) for name in ("bits", "transform", "aligned_zero_point")}


def refuse_other_codes(name: str, codes: Tensor, spec: QuantSpec, made: Mapping[str, Any] | None) -> None:
    """Refuse codes that were made with another spec.

    Args:
        name: of the weight.
        codes: as loaded.
        spec: of the layer that would get them.
        made: `coded_as` of the spec they were made with; None where the state does not say: then only codes that are
            too large for the bits are known to be wrong.

    Raises:
        CompSRTError: they were.
    """
    own = coded_as(spec)
    if made is None:
        counted = spec.codes == "strict" and holds_values(codes) and codes.numel()
        made = {"bits": max(spec.bits, int(codes.max()).bit_length())} if counted else {}
    for field, value in made.items():
        if value != own[field]:
            raise CompSRTError(
                f"the state's codes of {name} have {field} {value}, this network's {field} {own[field]}",
                hint="convert the network with the spec that the state was made with",
            )
