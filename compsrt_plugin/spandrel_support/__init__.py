"""Packed networks as spandrel's image models, for ComfyUI, chaiNNer and whatever else loads models by spandrel.

spandrel is imported when a function here is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compsrt_plugin.notebook.loader import find_network_file
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.zoo.spandrel_files import import_spandrel

if TYPE_CHECKING:
    from spandrel import ArchRegistry, ImageModelDescriptor

__all__ = ["install", "load"]


def install(registry: ArchRegistry | None = None) -> None:
    """Add packed files to the architectures that spandrel detects; a second call changes nothing.

    `spandrel.ModelLoader().load_from_file("x.safetensors")` then returns an `ImageModelDescriptor` for packed files of
    version 3. Older ones, the bundled SwinIR-light files among them, keep their header in metadata that spandrel drops:
    use `load`.

    Args:
        registry: the registry to add to; None: the one that every `ModelLoader` uses.

    Raises:
        CompSRTError: spandrel is not installed.
    """
    spandrel = import_spandrel()
    from compsrt_plugin.spandrel_support.architecture import PackedArchitecture

    support = spandrel.ArchSupport.from_architecture(PackedArchitecture())
    (spandrel.MAIN_REGISTRY if registry is None else registry).add(support, ignore_duplicates=True)


def load(source: str | Path) -> ImageModelDescriptor:
    """Return a packed network of any version as an `ImageModelDescriptor` of spandrel.

    Args:
        source: as `compsrt_plugin.load` takes it: a bundled name, a packed file, an option file or a URL.

    Raises:
        CompSRTError: spandrel is not installed, there is no such file, or it is not a packed network.
    """
    import_spandrel()
    from compsrt_plugin.spandrel_support.architecture import descriptor_of

    return descriptor_of(open_packed(find_network_file(source)))
