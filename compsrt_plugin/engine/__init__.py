"""Packed networks in integers, run by the compiled library. Knows torch, `native` and `quant`."""

from compsrt_plugin.engine.engine import Engine, engine_available, unsupported_reason
from compsrt_plugin.engine.layers import LayersEngine
from compsrt_plugin.engine.whole import WholeEngine

__all__ = ["Engine", "LayersEngine", "WholeEngine", "engine_available", "unsupported_reason"]
