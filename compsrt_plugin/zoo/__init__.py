"""Other people's networks: built from BasicSR's registry or from a file that spandrel reads."""

from compsrt_plugin.zoo.base import Base, build_base
from compsrt_plugin.zoo.size import SizeRule, find_rule

__all__ = ["Base", "SizeRule", "build_base", "find_rule"]
