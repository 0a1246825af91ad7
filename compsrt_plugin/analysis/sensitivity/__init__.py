"""Find the activations whose quantization harms the output most, and the gain of giving them more bits.

More bits for activations do not enlarge a packed file, and a few activations cause most of the error.
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
