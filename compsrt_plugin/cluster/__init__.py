"""Enlarge image files on a cluster: `UpscaleFiles` for `map_batches` of Ray, Dask or Spark, and a run on Ray."""

from compsrt_plugin.cluster.worker import UpscaleFiles, pending

__all__ = ["UpscaleFiles", "pending"]
