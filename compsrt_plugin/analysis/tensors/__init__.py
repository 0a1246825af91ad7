"""Analyze what the transforms do to every quantized tensor of a network, and where quantization hurts."""

from compsrt_plugin.analysis.tensors.end_to_end import analyze
from compsrt_plugin.analysis.tensors.summary import Analysis, write_analysis

__all__ = ["Analysis", "analyze", "write_analysis"]
