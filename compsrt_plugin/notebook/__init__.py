"""Offer a Python interface for notebooks and scripts: `load` a packed network, `upscale` images of any kind."""

from compsrt_plugin.notebook.loader import bundled_names, load
from compsrt_plugin.notebook.upscaler import Info, Upscaler

__all__ = ["Info", "Upscaler", "bundled_names", "load"]
