"""Run packed networks on integers, in the compiled library. Imports torch, `native` and `quant`."""

from compsrt_plugin.engine.engine import Engine, engine_available, unsupported_reason
from compsrt_plugin.engine.layers import LayersEngine
from compsrt_plugin.engine.whole import WholeEngine

__all__ = ["Engine", "LayersEngine", "WholeEngine", "engine_available", "unsupported_reason"]
