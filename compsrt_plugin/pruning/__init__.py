"""Pruning in the domain in which weights are quantized: hooks, their registry, `prune`, compensation and schedule.

A hook is a function (name, weight, ratio) -> mask; `docs/pruning.md` shows how to add one.
"""

from compsrt_plugin.pruning.apply import prune
from compsrt_plugin.pruning.hooks import channel, magnitude, n_m, wanda
from compsrt_plugin.pruning.registry import PRUNING_REGISTRY
from compsrt_plugin.pruning.schedule import Schedule
from compsrt_plugin.quant.passes.statistics import InputStatistics

__all__ = ["PRUNING_REGISTRY", "InputStatistics", "Schedule", "channel", "magnitude", "n_m", "prune", "wanda"]
