"""Packed networks in integers, compiled from C++. Knows torch, `quant` and `checkpoint`."""

from compsrt_plugin.engine.engine import Engine, engine_available, unsupported_reason

__all__ = ["Engine", "engine_available", "unsupported_reason"]
