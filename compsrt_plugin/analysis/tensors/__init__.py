"""What a transform does to every tensor that a network's quantization touches, and where quantization hurts."""

from compsrt_plugin.analysis.tensors.report import Analysis, write
from compsrt_plugin.analysis.tensors.run import analyze

__all__ = ["Analysis", "analyze", "write"]
