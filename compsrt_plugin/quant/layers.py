"""Quantized layers: a linear layer and a convolution that hold their quantizers, and can be frozen to codes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import fused
from compsrt_plugin.quant.constants import ordinary
from compsrt_plugin.quant.frozen_states import coded_as, refuse_other_codes
from compsrt_plugin.quant.precision import in_full_precision
from compsrt_plugin.quant.quantizer import Mode, Quantizer, share_domain
from compsrt_plugin.quant.spec import QuantSpec


class QuantizedLayer(nn.Module):
    """A layer with a quantized weight: the trainable matrix at first, integer codes once frozen.

    The weight is quantized as a matrix with one row per output feature, in the domain its quantizer names.

    Attributes:
        weight: full-precision weight; None once frozen.
        weight_codes: uint8 (rows, columns in the domain) once frozen, else None.
        weight_mask: boolean (rows, m), False where a weight is pruned and stays exactly 0; None without pruning.
        weight_shift: (rows, m), added to the transformed weight before it is rounded, see `quant.rounding`; None
            without, and once frozen.
        weight_offset: what is added to codes before decoding; 0 for strict codes, whose range starts there.
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
        self._decoded: tuple[list[_Identity], Tensor] | None = None  # what it was made from, and the weight
        self._kept: tuple[Tensor, Tensor | None, Tensor | None] | None = None

    @property
    def frozen(self) -> bool:
        """Whether the weight is held as integer codes."""
        return self.weight_codes is not None

    def weight_matrix(self) -> Tensor:
        """Return the full-precision weight as (rows, columns).

        Raises:
            RuntimeError: if the layer is frozen.
        """
        if self.weight is None or self.frozen:
            raise RuntimeError("a frozen layer has no full-precision weight; its codes are in weight_codes")
        return self.weight.flatten(1)

    def transformed_matrix(self) -> Tensor:
        """Return what is rounded: the full-precision weight in its quantizer's domain, shifted, (rows, m)."""
        matrix = self.weight_quantizer.transform(self.weight_matrix())
        return matrix if self.weight_shift is None else matrix + self.weight_shift

    def quantized_matrix(self) -> Tensor:
        """Return the quantized weight in the weight quantizer's domain, (rows, m), in float32 at least."""
        if self.weight_codes is None:
            matrix = self.weight_quantizer.quantize(self.transformed_matrix())
            return matrix if self.weight_mask is None else matrix * self.weight_mask
        if not ordinary():
            return self._decode(self.weight_codes)
        parts = (self.weight_codes, self.weight_offset, self.weight_mask, *self.weight_quantizer.parameters())
        made_from = [_identity(part) for part in parts if part is not None]
        if self._decoded is None or not _same(self._decoded[0], made_from):
            with torch.inference_mode(False):
                self._decoded = made_from, self._decode(self.weight_codes)
        return self._decoded[1]

    def _decode(self, codes: Tensor) -> Tensor:
        with torch.no_grad():
            values = codes if self.weight_offset is None else codes + self.weight_offset
            decoded = self.weight_quantizer.decode(values)
            return decoded if self.weight_mask is None else decoded * self.weight_mask

    def freeze(self) -> None:
        """Replace the weight by its integer codes; what the layer computes stays the same to the bit.

        Raises:
            CompSRTError: if paper codes spread over more than 256 values, more than a byte holds.
        """
        if self.frozen:
            return
        with torch.no_grad():
            codes = self.weight_quantizer.codes(self.transformed_matrix())
            offset = codes.min()
            if self.weight_quantizer.spec.codes == "paper" and offset != 0:
                self.weight_offset = offset
                codes = codes - offset
            if codes.max() > 255:
                # Seen with the published learning rate: alpha takes the scale down to nothing, and nothing is left
                # of the bits.
                raise CompSRTError(
                    f"{self.weight_quantizer.name}: its published codes spread over {int(codes.max()) + 1:,d} values, "
                    f"at nominal {self.weight_quantizer.spec.bits} bits",
                    allowed="256, what a byte holds",
                    hint="a lower train.optim_g.lr keeps the scale, codes: strict keeps the bits",
                )
            self.weight_codes = codes.to(torch.uint8)
            if self.weight_mask is not None:
                self.weight_codes *= self.weight_mask  # one code where nothing is read: packs and compresses best
        self.weight = self.weight_shift = None

    def stored_bits(self) -> int:
        """Return how many bits each stored code needs: the spec's, or more where paper codes overflow."""
        if self.weight_codes is None:
            return self.weight_quantizer.spec.bits
        return max(self.weight_quantizer.spec.bits, int(self.weight_codes.max()).bit_length())

    def prepare_frozen(self, has_offset: bool, has_mask: bool) -> None:
        """Make room for what a file holds: the layout of a frozen layer, without its values."""
        with torch.no_grad():
            domain = self.weight_quantizer.transform(self.weight_matrix())
        self.weight_codes = torch.zeros_like(domain, dtype=torch.uint8)
        self.weight_offset = domain.new_zeros(()) if has_offset else None
        self.weight_mask = torch.ones_like(domain, dtype=torch.bool) if has_mask else None
        self.weight = None

    def kept(self) -> tuple[Tensor | None, Tensor | None]:
        """Return which rows and which columns are not pruned as a whole, as indices; None where all stay."""
        if self.weight_mask is None:
            return None, None
        if not ordinary():
            return None, None  # how many stay cannot be known from a tensor without values
        if self._kept is None or self._kept[0] is not self.weight_mask:
            found = []
            for dim in (1, 0):
                stays = self.weight_mask.any(dim)
                found.append(None if stays.all() else stays.nonzero().flatten())
            self._kept = (self.weight_mask, found[0], found[1])
        return self._kept[1:]

    def _take_layout(self, names: Collection[str], prefix: str) -> None:
        """Become frozen where a state holds codes, and trainable again where it holds a weight."""
        if f"{prefix}weight_codes" in names and not self.frozen:
            self.prepare_frozen(f"{prefix}weight_offset" in names, f"{prefix}weight_mask" in names)
        elif f"{prefix}weight" in names and self.frozen:
            vars(self).pop("weight", None)  # a stand-in
            like = self.weight_quantizer.lower
            self.weight = nn.Parameter(like.new_empty(self.weight_shape))
            self.weight_codes = self.weight_mask = self.weight_offset = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        about = getattr(destination, "_metadata", {}).get(prefix[:-1])  # torch's place for what is no tensor
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
            # A training state brings its mask and its shift with it.
            for name in ("weight_mask", "weight_shift"):
                given = state_dict.get(f"{prefix}{name}")
                if getattr(self, name) is None and given is not None:
                    setattr(self, name, torch.ones_like(given, device=self.weight.device))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)


_Identity = tuple[Tensor, torch.dtype, torch.device, int]


def _identity(tensor: Tensor) -> _Identity:
    """Return what changes when other values are put into a tensor, or it is moved or cast in place."""
    version = 0 if tensor.is_inference() else tensor._version  # torch counts no versions of inference tensors
    return tensor, tensor.dtype, tensor.device, version


def _same(before: list[_Identity], now: list[_Identity]) -> bool:
    if len(before) != len(now):
        return False
    return all(a[0] is b[0] and a[1:] == b[1:] for a, b in zip(before, now))


class QuantLinear(QuantizedLayer):
    """`nn.Linear` whose input and weight are quantized.

    y = Q(x H) Q(w H)^T + b in the transformed domain, see `quantizer.product`. With the quantizers off it is
    `nn.Linear`, bit for bit.

    Args:
        linear: the layer to take weight and bias from (shared, not copied).
        weight_spec, input_spec: how weight and input are quantized.
    """

    def __init__(self, linear: nn.Linear, weight_spec: QuantSpec, input_spec: QuantSpec) -> None:
        super().__init__(linear.weight, linear.bias, weight_spec)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.input_quantizer = Quantizer(input_spec, like=linear.weight)

    def extra_repr(self) -> str:
        """As `nn.Linear` has it."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"

    def vectors(self, x: Tensor) -> Tensor:
        """Return the input as vectors (..., in_features)."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        # A module around this one may watch for products in its own code (`interception`): these are none of them.
        with torch._C.DisableTorchFunction():
            return self._linear(x, self.bias)

    def _linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        input_quantizer, weight_quantizer = self.input_quantizer, self.weight_quantizer
        if self.weight is not None and not self.frozen and weight_quantizer.mode is not Mode.ON:
            return F.linear(input_quantizer(x), self.weight, bias)
        return in_full_precision(self._quantized, x, *(() if bias is None else (bias,)))

    def _quantized(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        input_quantizer, weight_quantizer = self.input_quantizer, self.weight_quantizer
        weight = self.quantized_matrix()
        if share_domain(input_quantizer, weight_quantizer):
            if self.kept() == (None, None) and input_quantizer.fuses(x, invert=False):
                rows = x.reshape(-1, self.in_features)
                operand = input_quantizer.operand(rows, invert=False)
                output = fused.product(operand, fused.Operand(weight), True, bias)
                return output.view(*x.shape[:-1], self.out_features)
            return self._product(input_quantizer.transform(x), weight, bias)
        return F.linear(input_quantizer(x), weight_quantizer.inverse(weight, self.in_features), bias)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return Q(x) weight^T + b of x (..., m); rows and columns pruned as a whole take no arithmetic."""
        rows, columns = self.kept()
        if columns is not None:
            x, weight = x[..., columns], weight[:, columns]
        x = self.input_quantizer.quantize(x)
        if rows is None:
            return F.linear(x, weight, bias)
        output = x.new_zeros(*x.shape[:-1], self.out_features)
        output = output.index_copy(-1, rows, F.linear(x, weight[rows]))
        return output if bias is None else output + bias


class QuantPointwise(QuantLinear):
    """A 1x1 `nn.Conv2d` as the linear layer it is: its weight and its input, along the channels, are quantized.

    With the quantizers off it is the convolution, bit for bit.

    Args:
        conv: 1x1, stride 1, without padding or groups (parameters are shared, not copied).
        weight_spec, input_spec: how weight and input are quantized.
    """

    def __init__(self, conv: nn.Conv2d, weight_spec: QuantSpec, input_spec: QuantSpec) -> None:
        QuantizedLayer.__init__(self, conv.weight, conv.bias, weight_spec)
        self.in_features, self.out_features = conv.in_channels, conv.out_channels
        self.input_quantizer = Quantizer(input_spec, like=conv.weight)

    def vectors(self, x: Tensor) -> Tensor:
        """Return the input (b, in_channels, h, w) as vectors (b, h, w, in_channels)."""
        return x.movedim(1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to (b, out_channels, h, w)."""
        if self.weight is not None and self.weight_quantizer.mode is not Mode.ON:
            with torch._C.DisableTorchFunction():
                return F.conv2d(self.input_quantizer(self.vectors(x)).movedim(-1, 1), self.weight, self.bias)
        return super().forward(self.vectors(x)).movedim(-1, 1).contiguous()


class QuantConv2d(QuantizedLayer):
    """`nn.Conv2d` whose weight is quantized, one scale per output channel, and its input if it has a spec.

    Zero padding stays exactly 0: it is added to the quantized input.

    Args:
        conv: the layer to take weight, bias and geometry from (shared, not copied).
        weight_spec: how the weight is quantized, as a matrix (out_channels, in_channels * kh * kw).
        input_spec: how the input is quantized, per tensor and without a transform; None leaves it.
    """

    def __init__(self, conv: nn.Conv2d, weight_spec: QuantSpec, input_spec: QuantSpec | None = None) -> None:
        super().__init__(conv.weight, conv.bias, weight_spec)
        self.input_quantizer = None if input_spec is None else Quantizer(input_spec, like=conv.weight)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups

    def extra_repr(self) -> str:
        """Weight shape and geometry."""
        shape = tuple(self.weight_shape)
        return f"{shape}, stride={self.stride}, padding={self.padding}, groups={self.groups}"

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, in_channels, h, w) to (b, out_channels, h', w')."""
        if self.weight is not None and self.weight_quantizer.mode is not Mode.ON:
            return self._convolved(x, self.weight, self.bias)
        return in_full_precision(self._quantized, x, *(() if self.bias is None else (self.bias,)))

    def _quantized(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        columns = self.weight_shape[1:].numel()
        weight = self.weight_quantizer.inverse(self.quantized_matrix(), columns).view(self.weight_shape)
        return self._convolved(x, weight, bias)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.input_quantizer is not None:
            x = self.input_quantizer(x)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
