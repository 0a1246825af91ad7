"""Packed files as an architecture of spandrel. Imports spandrel."""

from __future__ import annotations

from spandrel import Architecture, ImageModelDescriptor, StateDict

from compsrt_plugin.packed.format import are_packed, packed_from_tensors
from compsrt_plugin.packed.open import PackedNetwork, network_of
from compsrt_plugin.spandrel_support.module import PackedModule

NAME = "CompSRT"


class PackedArchitecture(Architecture[PackedModule]):
    """Any network in a packed file: its tensors name no layers, so that no other architecture claims them."""

    def __init__(self) -> None:
        super().__init__(id=NAME, detect=are_packed)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[PackedModule]:
        """Return the network that the tensors of a packed file hold.

        Raises:
            CompSRTError: they are damaged, or of a file older than version 3, whose header spandrel has dropped.
        """
        source = "the file"  # spandrel passes its tensors only
        return descriptor_of(network_of(packed_from_tensors(state_dict, source), source), self)


def descriptor_of(source: PackedNetwork, architecture: PackedArchitecture | None = None) -> ImageModelDescriptor:
    """Return the descriptor of a packed network.

    Half precision is refused by spandrel's own `UnsupportedDtypeError`: quantizers compute in float32. Sizes are free,
    since the module pads images as `basicsr upscale` does.
    """
    module, header = PackedModule(source), source.header
    return ImageModelDescriptor(
        module,
        module.state_dict(),
        architecture=architecture or PackedArchitecture(),
        purpose="SR",
        tags=[f"{header.bits}bit", header.recipe],
        supports_half=False,
        supports_bfloat16=False,
        scale=header.scale,
        input_channels=module.channels,
        output_channels=module.channels,
    )
