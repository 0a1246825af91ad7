"""compsrt_plugin: low-bit SR transformers for BasicSR.

`import compsrt_plugin` in any BasicSR-based train.py or test.py is enough: it repairs BasicSR 1.4.2 for today's torch
and registers our classes in BasicSR's registries. Importing it twice, or after BasicSR, is harmless.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from compsrt_plugin import basicsr_compat, source_folder

if TYPE_CHECKING:
    from compsrt_plugin.notebook import Upscaler, load
    from compsrt_plugin.notebook.quantizing import quantize

__version__ = "0.2.0"
__all__ = ["Upscaler", "load", "quantize", "register"]

LATE = {
    "Upscaler": "compsrt_plugin.notebook",
    "load": "compsrt_plugin.notebook",
    "quantize": "compsrt_plugin.notebook.quantizing",
}  # what notebooks use, imported at first access: BasicSR's own scripts do not need it


MODULES = (
    "compsrt_plugin.data.basicsr_repairs",
    "compsrt_plugin.archs.compsrt_net_arch",
    "compsrt_plugin.archs.compsrt_swinir_arch",
    "compsrt_plugin.archs.mambairv2_light_arch",
    "compsrt_plugin.data.paired_dataset",
    "compsrt_plugin.models.compsrt_model",
    "compsrt_plugin.models.teacher_model",
    "compsrt_plugin.pruning",
)


def register() -> None:
    """Repair BasicSR and register the plugin's classes, by importing the modules that do so.

    Raises:
        CompSRTError: if the `basicsr` found is not the toolbox, or too different from 1.4.2.
    """
    basicsr_compat.apply()
    for module in MODULES:
        importlib.import_module(module)


def __getattr__(name: str) -> Any:
    """Import what notebooks use."""
    if name in LATE:
        return getattr(importlib.import_module(LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


source_folder.find_beside()
basicsr_compat.on_basicsr_import(register)
