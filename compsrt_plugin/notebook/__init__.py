"""Offer a Python interface for notebooks and scripts: `load` a packed network, `upscale` images of any kind."""

from compsrt_plugin.notebook.loader import load
from compsrt_plugin.notebook.upscaler import Info, Upscaler
from compsrt_plugin.packed.bundled import bundled_names

__all__ = ["Info", "Upscaler", "bundled_names", "load"]
