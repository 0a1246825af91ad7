"""`CompSRTNet`: any super-resolution network with quantized layers and products."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from compsrt_plugin.config.network_g import check_base
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.devices import example
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.packed import load_weights
from compsrt_plugin.quant import (
    Discovery,
    NetworkSpec,
    QuantConv2d,
    QuantizedLayer,
    convert,
    discover,
    quantized_layers,
)
from compsrt_plugin.quant.branches import merge_branches
from compsrt_plugin.quant.surgery import refuse_converted, refuse_replicas
from compsrt_plugin.quant.tracing.linears import bind_weight
from compsrt_plugin.registries import register_once
from compsrt_plugin.zoo import SizeRule, build_base, spandrel_files
from compsrt_plugin.zoo.base import channels_of

ARGUMENTS = ("base", "upscale", "size")
_DISCOVERED: dict[tuple[type[nn.Module], str], Discovery] = {}
_SHARED = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


@register_once(ARCH_REGISTRY)
class CompSRTNet(nn.Module):
    """A network from BasicSR's registry or from a weight file, whose layers are quantized as `quant` says.

    It has the children, parameters and buffers of the network it wraps as its own, so every name is that
    network's: in state dicts, overrides and files. Linear layers, 1x1 convolutions and products of activations
    are quantized at the spec's bits, other convolutions at `conv_bits`; see `quant.convert` for what is kept.

    Args:
        base: `{type: HAT, upscale: 4, …}` or `{file: weights.pth}`, see `zoo.base`; of a file the weights are
            loaded too.
        quant: a `NetworkSpec`, or its `to_dict()`; None leaves full precision.
        upscale: of the network; found out if None.
        size: `{multiple_of, minimum, square}`, images it takes; spandrel's, or found by trying if None.

    Attributes:
        window_size: height and width of images are padded to multiples of it.
        kept: name of each layer and product that stays in full precision -> why; after `quantize`.

    Raises:
        CompSRTError: for a base that cannot be built, or an override that matches nothing.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        quant: NetworkSpec | Mapping[str, Any] | None = None,
        upscale: int | None = None,
        size: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        built = build_base(base, upscale, None if size is None else SizeRule.from_dict(size))
        self.base = (built.network,)  # a tuple, because torch would register a bare module as another child
        for name in _SHARED:
            self.__dict__[name] = built.network.__dict__[name]
        self.arch = {"base": built.block, "upscale": built.scale, "size": built.size.to_dict()}
        self.scale, self.size_rule = built.scale, built.size
        self.channels = channels_of(self)
        self.window_size = built.size.multiple_of
        self.quant: NetworkSpec | None = None
        self.kept: dict[str, str] = {}
        self._leave_derived_buffers_out_of_files()
        if quant is not None:
            self.quantize(quant if isinstance(quant, NetworkSpec) else NetworkSpec.from_dict(quant))

    @classmethod
    def complete(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments that rebuild the network without its file and without trying sizes."""
        for name in arguments:
            if name not in ARGUMENTS:
                raise unknown_name("key in network_g:", name, ARGUMENTS)
        if "base" not in arguments:
            raise CompSRTError("network_g has no base", allowed="base: {type: HAT, …} or {file: weights.pth}")
        check_base(arguments["base"])
        if arguments.get("size") is not None:
            SizeRule.from_dict(arguments["size"])
        if all(arguments.get(name) is not None for name in ARGUMENTS) and "file" not in arguments["base"]:
            return dict(arguments)
        return cls(**arguments).arch

    def _replicate_for_data_parallel(self) -> Any:
        raise refuse_replicas("CompSRTNet, which shares its parts with the network it wraps")

    def train(self, mode: bool = True) -> CompSRTNet:
        """Set training mode, in the wrapped network's root too."""
        for part in getattr(self, "base", ()):  # not there yet while torch initializes
            part.training = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge images (b, c, h, w) of any size to (b, c, h * scale, w * scale)."""
        height, width = x.shape[2:]
        padded = self.size_rule.pad(x)
        output = self.base[0](padded)
        return output if padded is x else output[..., : height * self.scale, : width * self.scale]

    def quantize(self, spec: NetworkSpec) -> None:
        """Swap the layers for quantized ones; the parameters' values stay, the quantizers are off."""
        refuse_converted(self)
        merge_branches(self)
        found = self._discover()
        recipes = {pattern for recipe in RECIPES.values() for pattern in recipe.values["overrides"]}
        convert(self, spec, found, may_miss=recipes)
        for site in found.linears.values():
            if site.holder == "" and site.layer in self._modules:  # read by the wrapped network's own code
                bind_weight(self.base[0], site)
        self.quant = spec
        layers = dict(quantized_layers(self))
        self.kept = {name: why for name, why in found.keep.items() if name not in layers}
        self._tell(list(layers.values()), found.left_alone)

    def _discover(self) -> Discovery:
        """Return what there is to quantize: probed once for all networks of one class and the same arguments.

        Student, the network in its packed file and the one its operations are counted on are three such.
        """
        key = (type(self.base[0]), json.dumps(self.arch, sort_keys=True, default=repr))
        if key not in _DISCOVERED:
            sides = self.size_rule.two_sizes()
            generator = torch.Generator("cpu").manual_seed(0)  # torch's own draws must not depend on what was probed
            images = [
                torch.rand(1, self.channels, side, side, generator=generator, dtype=torch.float32, device="cpu")
                for side in sides
            ]
            where = example(self)
            if where is not None:
                images = [image.to(where) for image in images]
            _DISCOVERED[key] = discover(self, images)
        return _DISCOVERED[key]

    def read_weights(self, source: str, param_key: str | None = None) -> dict[str, Tensor]:
        """Read full-precision weights of the wrapped network.

        Args:
            source: path or URL.
            param_key: the entry asked for, see `checkpoint.entries`.

        Raises:
            CompSRTError: not there, damaged, or of another network than spandrel's.
        """
        block = self.arch["base"]
        if "spandrel" not in block:
            return load_weights(source, param_key=param_key)
        found = spandrel_files.read(source, param_key)  # spandrel renames what some files hold
        if found.block != block:
            raise CompSRTError(f"{source} is another {found.block['class']} than network_g's", hint="name one file")
        return found.network.state_dict()

    def _tell(self, layers: list[QuantizedLayer], left_alone: Any) -> None:
        logger = get_root_logger()
        name = type(self.base[0]).__name__
        convs = [layer for layer in layers if isinstance(layer, QuantConv2d)]
        if len(convs) == len(layers):
            bits, inputs = convs[0].weight_quantizer.spec.bits, convs[0].input_quantizer
            kept = "in full precision" if inputs is None else f"at {inputs.spec.bits} bits (quant.conv_input_bits)"
            found = f"{len(convs)} convolutions: weights at {bits} bits (quant.conv_bits), inputs {kept}"
            logger.warning(f"{name} has nothing to quantize but {found}")
        reasons: dict[str, list[str]] = {}
        for layer, why in self.kept.items():
            reasons.setdefault(why, []).append(layer)
        for why, names in reasons.items():
            logger.info(f"{name}: {len(names)} layers kept in full precision: {why}; first: {names[0]}")
        for line in left_alone:
            logger.info(f"{name}: a product is kept in full precision: {line}")

    def _leave_derived_buffers_out_of_files(self) -> None:
        """Leave out of files the buffers that the constructor computes: tables of indices and shift masks."""
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is None or name == "num_batches_tracked":  # torch restores this one itself
                    continue
                if not buffer.is_floating_point() or name.startswith("attn_mask"):
                    module._non_persistent_buffers_set.add(name)
        self.register_load_state_dict_pre_hook(_drop_derived_buffers)


def _drop_derived_buffers(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Drop the entries of a file for buffers that the network computes itself."""
    derived = {f"{prefix}{name}" for name, _ in module.named_buffers()} - module.state_dict(prefix=prefix).keys()
    for key in derived & state.keys():
        del state[key]
