"""Packed SwinIR networks in integers on NVIDIA GPUs, in Triton. Knows torch, `quant`, and `engine`'s constants."""

from compsrt_plugin.engine_gpu.engine import GpuEngine, gpu_engine_available

__all__ = ["GpuEngine", "gpu_engine_available"]
