"""Quantization of any PyTorch network: spec, convert, calibrate, freeze. Knows torch only."""

from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES, register_bound_search
from compsrt_plugin.quant.calibrate import activation_quantizers, calibrate, distinct_codes
from compsrt_plugin.quant.convert import (
    convert,
    freeze,
    named_quantizers,
    quantize_linear,
    quantized_layers,
    register_adapter,
    set_mode,
)
from compsrt_plugin.quant.layers import QuantConv2d, QuantLinear, QuantPointwise
from compsrt_plugin.quant.matmul import apply_quantizer, product, weighted_sum
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Mode, Quantizer
from compsrt_plugin.quant.spec import NetworkSpec, QuantSpec
from compsrt_plugin.quant.tracing.discovery import Discovery, discover
from compsrt_plugin.quant.tracing.linears import FunctionalLinear
from compsrt_plugin.quant.transforms.hadamard import (
    hadamard_matrix,
    hadamard_transform,
    inverse_hadamard_transform,
    padded_width,
)

__all__ = [
    "BOUND_SEARCHES",
    "Discovery",
    "FunctionalLinear",
    "Mode",
    "NetworkSpec",
    "QuantConv2d",
    "QuantLinear",
    "QuantPointwise",
    "QuantSpec",
    "QuantizedLayer",
    "Quantizer",
    "Samples",
    "activation_quantizers",
    "apply_quantizer",
    "calibrate",
    "convert",
    "discover",
    "distinct_codes",
    "freeze",
    "hadamard_matrix",
    "hadamard_transform",
    "inverse_hadamard_transform",
    "named_quantizers",
    "padded_width",
    "product",
    "quantize_linear",
    "quantized_layers",
    "register_adapter",
    "register_bound_search",
    "set_mode",
    "weighted_sum",
]
