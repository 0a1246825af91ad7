"""Passes over a converted network, one file each: algorithm, key in `quant:` and place in the order of calibration.

The order here is the order in which passes of one stage run. To add one, write its file and import it here, or call
`register_pass` from code of your own. `statistics` gathers the second moments of layer inputs that conditioning, GPTQ
and pruning need.
"""

# isort: off
from compsrt_plugin.quant.passes.registry import PASSES, Calibration, Pass, Stage, register_pass
from compsrt_plugin.quant.passes import conditioning, equalization, guard, gptq, bias_correction
# isort: on

__all__ = [
    "PASSES",
    "Calibration",
    "Pass",
    "Stage",
    "bias_correction",
    "conditioning",
    "equalization",
    "gptq",
    "guard",
    "register_pass",
]
