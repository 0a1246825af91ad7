"""`QuantizedLayer`: a layer whose weight is quantized, trainable at first, integer codes once frozen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.fake import CODES
from compsrt_plugin.quant.quantizer import Quantizer, holds_values
from compsrt_plugin.quant.spec import QuantSpec
from compsrt_plugin.quant.tensor_cache import makes_plain_tensors


class QuantizedLayer(nn.Module):
    """A layer with a quantized weight: a trainable matrix at first, integer codes once frozen.

    The weight is quantized as a matrix with one row per output feature, in the domain of its quantizer.

    Attributes:
        weight: full-precision weight; None once frozen.
        weight_codes: uint8 (rows, columns in the domain) once frozen, else None.
        weight_mask: boolean (rows, m), False where a weight is pruned and stays exactly 0; None without pruning.
        weight_shift: (rows, m), added to the transformed weight before rounding (`passes.gptq`); None without, and
            once frozen.
        weight_offset: added to codes before decoding; None for strict codes, whose range starts at 0.
    """

    weight: Tensor | None
    bias: Tensor | None
    weight_codes: Tensor | None
    weight_mask: Tensor | None
    weight_shift: Tensor | None
    weight_offset: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, weight_spec: QuantSpec) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias
        self.weight_shape = weight.shape
        self.weight_quantizer = Quantizer(weight_spec, rows=weight.shape[0], like=weight)
        self.register_buffer("weight_codes", None)
        self.register_buffer("weight_mask", None)
        self.register_buffer("weight_shift", None)
        self.register_buffer("weight_offset", None)
        self._decoded: tuple[list[_Identity], Tensor] | None = None  # sources of the decoded weight, and the weight
        self._kept: tuple[Tensor, Tensor | None, Tensor | None] | None = None

    @property
    def frozen(self) -> bool:
        """Whether the weight is held as integer codes."""
        return self.weight_codes is not None

    def weight_matrix(self) -> Tensor:
        """Return the full-precision weight as (rows, columns).

        Raises:
            RuntimeError: the layer is frozen.
        """
        if self.weight is None or self.frozen:
            raise RuntimeError("a frozen layer has no full-precision weight; its codes are in weight_codes")
        return self.weight.flatten(1)

    def transformed_matrix(self) -> Tensor:
        """Return the shifted full-precision weight in its domain, before rounding, (rows, m)."""
        matrix = self.weight_quantizer.transform(self.weight_matrix())
        return matrix if self.weight_shift is None else matrix + self.weight_shift

    def quantized_matrix(self) -> Tensor:
        """Return the quantized weight in its domain, (rows, m), in float32 at least."""
        if self.weight_codes is None:
            matrix = self.weight_quantizer.quantize(self.transformed_matrix())
            return matrix if self.weight_mask is None else matrix * self.weight_mask
        if not makes_plain_tensors():
            return self._decode(self.weight_codes)
        parts = (self.weight_codes, self.weight_offset, self.weight_mask, *self.weight_quantizer.parameters())
        made_from = [_identity(part) for part in parts if part is not None]
        if self._decoded is None or not _same(self._decoded[0], made_from):
            with torch.inference_mode(False):
                self._decoded = made_from, self._decode(self.weight_codes)
        return self._decoded[1]

    def forget_decoded(self) -> None:
        """Free the decoded weight; the next read decodes it again."""
        self._decoded = None

    def _decode(self, codes: Tensor) -> Tensor:
        with torch.no_grad():
            values = codes if self.weight_offset is None else codes + self.weight_offset
            decoded = self.weight_quantizer.decode(values)
            return decoded if self.weight_mask is None else decoded * self.weight_mask

    def freeze(self) -> None:
        """Replace the weight by its integer codes; outputs stay equal to the bit.

        Raises:
            CompSRTError: unbounded codes span more than the 256 values of a byte.
        """
        if self.frozen:
            return
        with torch.no_grad():
            codes = self.weight_quantizer.codes(self.transformed_matrix())
            offset = codes.min()
            if not self.weight_quantizer.code_mode.bounded and offset != 0:
                self.weight_offset = offset
                codes = codes - offset
            if codes.max() > 255:
                # With the published learning rate, alpha can reduce the scale to almost 0.
                raise CompSRTError(
                    f"{self.weight_quantizer.name}: its published codes span {int(codes.max()) + 1:,d} values, "
                    f"at nominal {self.weight_quantizer.spec.bits} bits",
                    allowed="256, the values of a byte",
                    hint="use a lower train.optim_g.lr to keep the scale, or codes: strict to keep the bits",
                )
            self.weight_codes = codes.to(torch.uint8)
            if self.weight_mask is not None:
                self.weight_codes *= self.weight_mask  # masked codes are not read; a constant compresses best
        self.weight = self.weight_shift = None

    def stored_bits(self) -> int:
        """Return the number of bits per stored code: that of the spec, or more if unbounded codes need it."""
        if self.weight_codes is None:
            return self.weight_quantizer.spec.bits
        return max(self.weight_quantizer.spec.bits, int(self.weight_codes.max()).bit_length())

    def prepare_frozen(self, has_offset: bool, has_mask: bool) -> None:
        """Allocate the tensors of a frozen layer, without values, for a file or a state to fill."""
        with torch.no_grad():
            domain = self.weight_quantizer.transform(self.weight_matrix())
        self.weight_codes = torch.zeros_like(domain, dtype=torch.uint8)
        self.weight_offset = domain.new_zeros(()) if has_offset else None
        self.weight_mask = torch.ones_like(domain, dtype=torch.bool) if has_mask else None
        self.weight = None

    def kept(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the indices of the rows and of the columns that are not pruned as a whole; None if all stay."""
        if self.weight_mask is None:
            return None, None
        if not makes_plain_tensors():
            return None, None  # a tensor without values does not say how many stay
        if self._kept is None or self._kept[0] is not self.weight_mask:
            found = []
            for dim in (1, 0):
                stays = self.weight_mask.any(dim)
                found.append(None if stays.all() else stays.nonzero().flatten())
            self._kept = (self.weight_mask, found[0], found[1])
        return self._kept[1:]

    def _take_layout(self, names: Collection[str], prefix: str) -> None:
        """Become frozen if a state has codes, and trainable again if it has a weight."""
        if f"{prefix}weight_codes" in names and not self.frozen:
            self.prepare_frozen(f"{prefix}weight_offset" in names, f"{prefix}weight_mask" in names)
        elif f"{prefix}weight" in names and self.frozen:
            vars(self).pop("weight", None)  # the placeholder of `FunctionalLinear`
            like = self.weight_quantizer.lower
            self.weight = nn.Parameter(like.new_empty(self.weight_shape))
            self.weight_codes = self.weight_mask = self.weight_offset = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        about = getattr(destination, "_metadata", {}).get(prefix[:-1])  # where torch stores what is not a tensor
        if self.frozen and about is not None:
            about["weight"] = coded_as(self.weight_quantizer.spec)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        codes = state_dict.get(f"{prefix}weight_codes")
        if codes is not None:
            refuse_other_codes(f"{prefix}weight", codes, self.weight_quantizer.spec, local_metadata.get("weight"))
        self._decoded = self._kept = None
        self._take_layout(state_dict.keys(), prefix)
        if self.weight is not None and not self.frozen:
            # A training state includes its mask and its shift.
            for name in ("weight_mask", "weight_shift"):
                given = state_dict.get(f"{prefix}{name}")
                if getattr(self, name) is None and given is not None:
                    setattr(self, name, torch.ones_like(given, device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)


_Identity = tuple[Tensor, torch.dtype, torch.device, int]


def _identity(tensor: Tensor) -> _Identity:
    """Return a key that changes if a tensor gets other values or is moved or cast in place."""
    version = 0 if tensor.is_inference() else tensor._version  # torch does not count versions of inference tensors
    return tensor, tensor.dtype, tensor.device, version


def _same(before: list[_Identity], now: list[_Identity]) -> bool:
    if len(before) != len(now):
        return False
    return all(a[0] is b[0] and a[1:] == b[1:] for a, b in zip(before, now))


def coded_as(spec: QuantSpec) -> dict[str, Any]:
    """Return the plain values that decoding needs and that no tensor of a state dict has."""
    return {name: getattr(spec, name) for name in ("bits", "transform", "aligned_zero_point")}


def refuse_other_codes(name: str, codes: Tensor, spec: QuantSpec, made: Mapping[str, Any] | None) -> None:
    """Refuse codes that were made with another spec.

    Args:
        name: name of the weight.
        codes: the loaded codes.
        spec: spec of the layer that would get them.
        made: `coded_as` of the spec they were made with; None if the state does not say. Only codes that are too large
            for the bits can be refused then.

    Raises:
        CompSRTError: the specs differ; the message names the field and both values.
    """
    own = coded_as(spec)
    if made is None:
        counted = CODES[spec.codes].bounded and holds_values(codes) and codes.numel()
        made = {"bits": max(spec.bits, int(codes.max()).bit_length())} if counted else {}
    for field, value in made.items():
        if value != own[field]:
            raise CompSRTError(
                f"the codes of {name} in the state have {field} {value}, this network has {field} {own[field]}",
                hint="convert the network with the spec of the state",
            )
