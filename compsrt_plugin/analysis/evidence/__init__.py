"""Statistics that a claim about a network rests on. Knows numpy and scipy only."""

from compsrt_plugin.analysis.evidence.paired import Paired, holm, one_sided, paired, smallest_p

__all__ = ["Paired", "holm", "one_sided", "paired", "smallest_p"]
