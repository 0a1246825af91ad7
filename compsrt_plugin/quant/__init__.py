"""Quantization of any PyTorch network: spec, convert, calibrate, freeze. Imports torch only.

    spec             what each tensor and network gets: `QuantSpec`, `NetworkSpec`
    fake             the formulas of codes and values, and the code modes
    transforms/      the domains in which tensors are quantized
    bounds/          samples of a tensor and the searches for its bounds
    quantizer        `Quantizer`: bounds and fake quantization of one tensor
    matmul           products of two quantized operands
    quantized_layer  `QuantizedLayer`: a weight that is trained, then frozen to codes
    layers           linear layer, 1x1 convolution, convolution
    convert          replace the layers of a network
    network          its quantizers and quantized layers, their mode, `freeze`
    tracing/         products and weights in the code of foreign networks
    calibrate        search the bounds of a converted network
    sensitivity      the activations that need more bits

`passes/` holds the steps of calibration that option files name. It needs msgspec too and is not imported here.

The other files are tools: `modes` (run a network in another mode), `surgery` and `computed_weights` (change a network
in place), `precision` (dtypes, autocast), `tensor_cache`.
"""

from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES, register_bound_search
from compsrt_plugin.quant.calibrate import calibrate, distinct_codes
from compsrt_plugin.quant.convert import convert, quantize_linear, register_adapter
from compsrt_plugin.quant.fake import CODES, CodeMode, register_code_mode
from compsrt_plugin.quant.layers import QuantConv2d, QuantLinear, QuantPointwise
from compsrt_plugin.quant.matmul import apply_quantizer, product, weighted_sum
from compsrt_plugin.quant.network import (
    activation_quantizers,
    freeze,
    named_quantizers,
    quantized_layers,
    set_mode,
)
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Mode, Quantizer
from compsrt_plugin.quant.spec import NetworkSpec, QuantSpec
from compsrt_plugin.quant.tracing.discovery import Discovery, discover
from compsrt_plugin.quant.tracing.linears import FunctionalLinear
from compsrt_plugin.quant.transforms import TRANSFORMS, Transform, register_transform
from compsrt_plugin.quant.transforms.hadamard import (
    hadamard_matrix,
    hadamard_transform,
    inverse_hadamard_transform,
    padded_width,
)

__all__ = [
    "BOUND_SEARCHES",
    "CODES",
    "TRANSFORMS",
    "CodeMode",
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
    "Transform",
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
    "register_code_mode",
    "register_transform",
    "set_mode",
    "weighted_sum",
]
