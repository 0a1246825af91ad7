"""Prepare, check and read images: MATLAB's bicubic, LR images, embedded photographs, BasicSR's paired dataset.

`CompSRTPairedDataset` is not re-exported, because only it needs BasicSR.
"""

from __future__ import annotations

from compsrt_plugin.data.cache import cached_lr
from compsrt_plugin.data.embedded import embedded_pairs
from compsrt_plugin.data.resize import downscale, imresize, mod_crop, upscale

__all__ = ["cached_lr", "downscale", "embedded_pairs", "imresize", "mod_crop", "upscale"]
