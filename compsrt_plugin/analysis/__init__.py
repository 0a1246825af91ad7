"""What a transform does to every tensor that a network's quantization touches, and where quantization hurts."""

from compsrt_plugin.analysis.report import Analysis, write
from compsrt_plugin.analysis.run import analyze

__all__ = ["Analysis", "analyze", "write"]
