"""Packed networks in integers, run by the compiled library. Knows torch, `native` and `quant`."""

from compsrt_plugin.engine.engine import Engine, engine_available, unsupported_reason

__all__ = ["Engine", "engine_available", "unsupported_reason"]
