"""ComfyUI nodes: upscale images with packed low-bit networks.

Copy this file into `ComfyUI/custom_nodes`, and `pip install compsrt_plugin` into ComfyUI's Python. It adds two
nodes, and ComfyUI's own "Load Upscale Model" reads packed files from then on.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import compsrt_plugin as csr
from compsrt_plugin import spandrel_support
from compsrt_plugin.notebook import bundled_names

FOLDER = "upscale_models"  # of ComfyUI's `models`, where its own upscale models are
ENDING = ".safetensors"

spandrel_support.install()


def networks() -> list[str]:
    """Return the bundled networks and the safetensors files among ComfyUI's upscale models."""
    return [*bundled_names(), *(name for name in _own_files() if name.endswith(ENDING))]


def _own_files() -> list[str]:
    try:
        import folder_paths  # pyright: ignore[reportMissingImports]  (ComfyUI's)
    except ImportError:
        return []
    return folder_paths.get_filename_list(FOLDER)


def _source(network: str) -> str:
    """Return what `compsrt_plugin.load` takes: the name of a bundled network, or a path."""
    if network not in _own_files():
        return network
    import folder_paths  # pyright: ignore[reportMissingImports]

    return folder_paths.get_full_path(FOLDER, network)


@functools.lru_cache(maxsize=2)
def _opened(source: str, changed: float) -> csr.Upscaler:
    """Return the network, which is opened again when its file has changed."""
    return csr.load(source)


def _open(network: str) -> csr.Upscaler:
    source = _source(network)
    path = Path(source)
    return _opened(source, path.stat().st_mtime if path.is_file() else 0.0)


class CompSRTUpscale:
    """Upscale images on the processor, with the integer engine where it can run the network."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "upscale"
    CATEGORY = "image/upscaling"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Return the inputs that ComfyUI shows."""
        return {"required": {"network": (networks(),), "image": ("IMAGE",)}}

    def upscale(self, network: str, image: Tensor) -> tuple[Tensor]:
        """Return images (b, h * scale, w * scale, c).

        Args:
            network: one of `networks()`.
            image: (b, h, w, c) in 0 to 1; c is 3, or 4 with alpha.
        """
        net, count = _open(network), _progress(len(image))
        made = []
        for one in image.detach().cpu().float().clamp(0, 1).numpy():
            made.append(net.upscale(one))
            count()
        return (torch.from_numpy(np.stack(made)),)


class CompSRTLoader:
    """Load a packed network for ComfyUI's "Upscale Image (using Model)"."""

    RETURN_TYPES = ("UPSCALE_MODEL",)
    FUNCTION = "load"
    CATEGORY = "loaders"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Return the inputs that ComfyUI shows."""
        return {"required": {"network": (networks(),)}}

    def load(self, network: str) -> tuple[Any]:
        """Return spandrel's image model, with what ComfyUI's own loader adds to it."""
        found: Any = spandrel_support.load(_source(network))
        try:
            from comfy import model_management, model_patcher  # pyright: ignore[reportMissingImports]
        except ImportError:
            return (found,)
        # newer versions move an upscale model between devices by this
        patcher = getattr(model_patcher, "CoreModelPatcher", None)
        if patcher is not None:
            load, offload = model_management.get_torch_device(), model_management.unet_offload_device()
            found.patcher = patcher(found.model, load_device=load, offload_device=offload)
        return (found,)


def _progress(total: int) -> Any:
    """Return a function that counts one image on ComfyUI's progress bar."""
    try:
        from comfy.utils import ProgressBar  # pyright: ignore[reportMissingImports]
    except ImportError:
        return lambda: None
    bar = ProgressBar(total)
    return lambda: bar.update(1)


NODE_CLASS_MAPPINGS: dict[str, type] = {"CompSRTUpscale": CompSRTUpscale, "CompSRTLoader": CompSRTLoader}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "CompSRTUpscale": "Upscale Image (CompSRT)",
    "CompSRTLoader": "Load Upscale Model (CompSRT)",
}
