"""Which activations' quantization harms the output most, and what more bits there would bring.

Bits of activations cost no byte of a packed file, and few of them make most of the error.
"""

from compsrt_plugin.analysis.sensitivity.measure import Activation, Sensitivity, estimate, measure, on_embedded
from compsrt_plugin.analysis.sensitivity.table import text_table, to_dict

__all__ = ["Activation", "Sensitivity", "estimate", "measure", "on_embedded", "text_table", "to_dict"]
