"""Which activations' quantization harms the output most, and what more bits there would bring.

Bits of activations cost no byte of a packed file, and few of them make most of the error.
"""

from compsrt_plugin.analysis.sensitivity.activations import (
    Activation,
    Sensitivity,
    estimate_errors,
    measure_errors,
    on_embedded,
)
from compsrt_plugin.analysis.sensitivity.sensitivity_table import sensitivity_text, sensitivity_to_dict

__all__ = [
    "Activation",
    "Sensitivity",
    "estimate_errors",
    "measure_errors",
    "on_embedded",
    "sensitivity_text",
    "sensitivity_to_dict",
]
