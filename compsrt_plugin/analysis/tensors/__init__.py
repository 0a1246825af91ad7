"""What a transform does to every tensor that a network's quantization touches, and where quantization hurts."""

from compsrt_plugin.analysis.tensors.end_to_end import analyze
from compsrt_plugin.analysis.tensors.summary import Analysis, write_analysis

__all__ = ["Analysis", "analyze", "write_analysis"]
