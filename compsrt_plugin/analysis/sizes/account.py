"""Account for a packed file: all its bytes, the sizes of every layer, the operations of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.sizes.layer_sizes import CodeSizes, LayerSize, entropy_bits, measure_layer
from compsrt_plugin.analysis.sizes.operations import Product
from compsrt_plugin.packed import Packed
from compsrt_plugin.packed.layout import STORED_KINDS
from compsrt_plugin.quant import quantized_layers
from compsrt_plugin.report.results import FLOAT_BITS

OTHERS = {"relative_position_bias_table": "position tables", "absolute_pos_embed": "position tables"}
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Account:
    """The content of `basicsr report`.

    Attributes:
        layers: quantized layers, in the order of the network.
        others: bytes of unquantized tensors by kind, and of the head and table of the file.
        products: matrix products of one forward pass.
        size: height and width of the low-resolution image for which they are counted.
        parameters: number of parameters of the full-precision network.
        bytes: size of the file.
        kept: layers of a wrapped network that the rules leave in full precision -> why.
    """

    layers: list[LayerSize]
    others: dict[str, int]
    products: list[Product]
    size: tuple[int, int]
    parameters: int
    bytes: int
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the multiply-adds with both operands quantized, only weights, and neither."""
        names = ("neither", "weights", "both")
        sums = dict.fromkeys(reversed(names), 0)
        for product in self.products:
            sums[names[sum(bits < FLOAT_BITS for bits in product.bits)]] += product.macs
        return {name: macs / max(1, sum(sums.values())) for name, macs in sums.items()}

    @property
    def float_bytes(self) -> int:
        """Bytes of the full-precision network, 4 per parameter."""
        return _FLOAT_BYTES * self.parameters

    @property
    def theoretical_bits(self) -> float:
        """Bits of codes and masks, and 32 per unquantized parameter. Bounds are not counted."""
        total = self.total
        return total.theoretical_bits + FLOAT_BITS * (self.parameters - total.weights)

    @property
    def total(self) -> CodeSizes:
        """Sum over all quantized layers."""
        return CodeSizes.sum(layer.sizes for layer in self.layers)

    def of_kind(self, kind: str) -> CodeSizes:
        """Sum over `linear` or `convolution` layers."""
        return CodeSizes.sum(layer.sizes for layer in self.layers if layer.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, as `docs/packed_file.md` describes."""
        macs, bitops = sum(p.macs for p in self.products), sum(p.bitops for p in self.products)
        by_layer = {product.name: product for product in self.products}
        return {
            "totals": {
                "bytes": self.bytes,
                "float_bytes": self.float_bytes,
                **_rates(self.total),
                "parameters": self.parameters,
                "macs": macs,
                "float_macs": sum(p.float_macs for p in self.products),
                "bitops": bitops,
                "bitops_32bit": bitops / FLOAT_BITS**2,
                "quantized_macs": self.shares,
            },
            "compression": {
                "by_file": self.float_bytes / self.bytes,
                "by_count": FLOAT_BITS * self.parameters / self.theoretical_bits,
            },
            "input": {"height": self.size[0], "width": self.size[1]},
            "kinds": {
                kind: {"bytes": self.of_kind(kind).bytes, **_rates(self.of_kind(kind))}
                for kind in ("linear", "convolution")
            },
            "others": self.others,
            "kept": dict(self.kept),
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "bits": layer.bits,
                    "activation_bits": layer.activation_bits,
                    "weights": layer.sizes.weights,
                    "codes": layer.sizes.codes,
                    **_rates(layer.sizes),
                    "bytes": layer.sizes.bytes,
                    "macs": by_layer[layer.name].macs,
                    "bitops": by_layer[layer.name].bitops,
                }
                for layer in self.layers
            ],
        }


def _rates(sizes: CodeSizes) -> dict[str, float]:
    return {
        "bits_per_weight": sizes.bits_per_weight,
        "entropy_bits_per_weight": sizes.entropy_bits_per_weight,
        "pruned_share": sizes.pruned_share,
    }


def account_for(
    packed: Packed,
    network: nn.Module,
    products: list[Product],
    size: tuple[int, int],
    parameters: int,
    kept: Mapping[str, str] | None = None,
) -> Account:
    """Return the account of a packed file.

    Args:
        packed: contents of the file.
        network: rebuilt from it, frozen.
        products: from `count_products`.
        size: height and width for which they are counted.
        parameters: number of parameters of the full-precision network.
        kept: see `Account`.
    """
    stored = stored_bytes(packed, network)
    names = {name for name, _ in quantized_layers(network)}
    of_layer = dict.fromkeys(names, 0)
    others = {"position tables": 0, "norms": 0, "bounds of attention": 0, "other biases and weights": 0}
    for tensor, size_on_disk in stored.items():
        module, last = tensor.rpartition(".")[::2]
        owner = next((name for name in (module, module.rpartition(".")[0]) if name in names), None)
        if owner is not None:
            of_layer[owner] += size_on_disk
        elif "_quantizer" in module:
            others["bounds of attention"] += size_on_disk
        elif "norm" in module.rpartition(".")[2]:
            others["norms"] += size_on_disk
        else:
            others[OTHERS.get(last, "other biases and weights")] += size_on_disk
    others["head and table"] = packed.bytes - sum(stored.values())
    layers = [measure_layer(name, layer, of_layer[name]) for name, layer in quantized_layers(network)]
    return Account(layers, {k: v for k, v in others.items() if v}, products, size, parameters, packed.bytes, kept or {})


def stored_bytes(packed: Packed, network: nn.Module) -> dict[str, int]:
    """Return the bytes on disk of every tensor. The tensors of one part add up to the part.

    The bytes of a part are divided in proportion to entropy for codes and masks, else to the number of elements.
    """
    masks = {f"{name}.weight_codes": layer.weight_mask for name, layer in quantized_layers(network)}
    shares: dict[str, dict[str, float]] = {}
    for name, tensor in packed.state.items():
        if tensor.numel():
            kind, share = _share(name, tensor, packed.code_bits, masks)
            shares.setdefault(kind, {})[name] = share
    found: dict[str, int] = {}
    for kind, size in _sizes_by_type(packed.part_bytes).items():
        members = shares.get(kind, {})
        total, before, given = sum(members.values()), 0.0, 0
        for name, share in members.items():
            before += share
            upto = round(size * before / total)
            found[name] = upto - given
            given = upto
    return found


def _share(
    name: str, tensor: Tensor, code_bits: Mapping[str, int], masks: Mapping[str, Tensor | None]
) -> tuple[str, float]:
    """Return the part of a tensor, and its weight when the bytes of the part are divided."""
    if name in code_bits:
        mask = masks.get(name)
        # A little per element, so that a tensor of a single value gets a share too.
        return f"codes{code_bits[name]}", entropy_bits(tensor if mask is None else tensor[mask]) + 1e-3 * tensor.numel()
    if tensor.dtype == torch.bool:
        return "bool", entropy_bits(tensor) + 1e-3 * tensor.numel()
    return str(tensor.dtype).replace("torch.", ""), float(tensor.numel())


def _sizes_by_type(part_bytes: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each part without the table, with the three kinds of masks as one."""
    sizes: dict[str, int] = {}
    for kind, size in part_bytes.items():
        if kind in STORED_KINDS:
            name = "bool" if STORED_KINDS[kind].dtype == torch.bool else kind
            sizes[name] = sizes.get(name, 0) + size
    return sizes
