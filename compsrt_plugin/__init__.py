"""compsrt_plugin: low-bit SR transformers for BasicSR.

`import compsrt_plugin` in any BasicSR-based train.py or test.py is enough: it repairs what BasicSR 1.4.2 lacks
on today's torch and puts our classes into BasicSR's registries. Importing twice, or after BasicSR, is harmless.
"""

from __future__ import annotations

from typing import Any

from compsrt_plugin.compat import on_basicsr_import

__version__ = "0.1.0"


def register() -> None:
    """Put the plugin's classes into BasicSR's registries, once; the one place where that happens.

    Raises:
        CompSRTError: if the `basicsr` found is not the toolbox, or too different from 1.4.2.
    """
    from compsrt_plugin import compat

    compat.apply()
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

    from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
    from compsrt_plugin.data.paired_dataset import CompSRTPairedDataset
    from compsrt_plugin.models.compsrt_model import CompSRTModel

    entries: list[tuple[Any, type]] = [
        (ARCH_REGISTRY, CompSRTSwinIR),
        (DATASET_REGISTRY, CompSRTPairedDataset),
        (MODEL_REGISTRY, CompSRTModel),
    ]
    for registry, entry in entries:
        if entry.__name__ not in registry:
            registry.register(entry)


on_basicsr_import(register)
