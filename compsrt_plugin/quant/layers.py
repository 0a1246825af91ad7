"""Quantized layers: `QuantLinear`, `QuantPointwise` (a 1x1 convolution as a linear layer) and `QuantConv2d`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.ops import quantized_product
from compsrt_plugin.quant.matmul import share_domain
from compsrt_plugin.quant.precision import in_full_precision
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Mode, Quantizer
from compsrt_plugin.quant.spec import QuantSpec


class QuantLinear(QuantizedLayer):
    """`nn.Linear` with quantized input and weight.

    y = Q(x H) Q(w H)^T + b in the domain, see `matmul.share_domain`. With the quantizers off it equals `nn.Linear`, bit
    for bit.

    Args:
        linear: layer whose weight and bias are used (shared, not copied).
        weight_spec, input_spec: specs of weight and input.
    """

    def __init__(self, linear: nn.Linear, weight_spec: QuantSpec, input_spec: QuantSpec) -> None:
        super().__init__(linear.weight, linear.bias, weight_spec)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.input_quantizer = Quantizer(input_spec, like=linear.weight)

    def extra_repr(self) -> str:
        """Return the text of `nn.Linear`."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"

    def vectors(self, x: Tensor) -> Tensor:
        """Return the input as vectors (..., in_features)."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        # An enclosing module may intercept products: do not count the layer's own matmuls among them.
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
            if self.kept() == (None, None) and input_quantizer.has_operator:
                operand = input_quantizer.operand(x, invert=False)
                return quantized_product.multiply(operand, quantized_product.Operand(weight), True, bias)
            return self._product(input_quantizer.transform(x), weight, bias)
        return F.linear(input_quantizer(x), weight_quantizer.inverse(weight, self.in_features), bias)

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return Q(x) weight^T + b of x (..., m) without rows and columns that are pruned as a whole."""
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
    """A 1x1 `nn.Conv2d` as a linear layer, with quantized weight and input along the channels.

    With the quantizers off it equals the convolution, bit for bit.

    Args:
        conv: 1x1, stride 1, without padding or groups (parameters are shared, not copied).
        weight_spec, input_spec: specs of weight and input.
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
    """`nn.Conv2d` with a quantized weight, one scale per output channel, and optionally a quantized input.

    Zero padding stays exactly 0, because it is added after quantization.

    Args:
        conv: layer whose weight, bias and geometry are used (shared, not copied).
        weight_spec: spec of the weight as a matrix (out_channels, in_channels * kh * kw).
        input_spec: spec of the input, per tensor and without a transform; None keeps full precision.
    """

    def __init__(self, conv: nn.Conv2d, weight_spec: QuantSpec, input_spec: QuantSpec | None = None) -> None:
        super().__init__(conv.weight, conv.bias, weight_spec)
        self.input_quantizer = None if input_spec is None else Quantizer(input_spec, like=conv.weight)
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups

    def extra_repr(self) -> str:
        """Return weight shape and geometry."""
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
