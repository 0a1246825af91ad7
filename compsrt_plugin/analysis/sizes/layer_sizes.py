"""Compute the size of quantized weights: theoretical, by entropy, and on disk.

With k of N codes kept at n bits each:

    theoretical   k n + mask          mask: one bit per code, or per row or column if whole ones are pruned
    entropy       k H(codes kept) + N H(mask)        H: order-0 entropy with a table per tensor

CompSRT (arXiv 2601.21069) counts (1 - p) n + 1 bits per weight: the first line divided by N. N counts codes: a row of
60 weights has 64 codes in the Hadamard domain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from compsrt_plugin.quant import QuantizedLayer, QuantLinear


@dataclass(frozen=True)
class CodeSizes:
    """Sizes of one or more layers, which can be added.

    Attributes:
        weights: number of weights in full precision.
        codes: number of codes, including pruned ones.
        pruned: number of pruned codes.
        theoretical_bits, entropy_bits: see the module.
        bytes: bytes on disk, including bounds, scales and mask; a share of a compressed part in proportion to entropy.
    """

    weights: int = 0
    codes: int = 0
    pruned: int = 0
    theoretical_bits: float = 0.0
    entropy_bits: float = 0.0
    bytes: int = 0

    def __add__(self, other: CodeSizes) -> CodeSizes:
        return CodeSizes(
            self.weights + other.weights,
            self.codes + other.codes,
            self.pruned + other.pruned,
            self.theoretical_bits + other.theoretical_bits,
            self.entropy_bits + other.entropy_bits,
            self.bytes + other.bytes,
        )

    @classmethod
    def sum(cls, parts: Iterable[CodeSizes]) -> CodeSizes:
        """Return the sum of sizes."""
        total = cls()
        for part in parts:
            total = total + part
        return total

    @property
    def bits_per_weight(self) -> float:
        """Theoretical bits per code, including the mask."""
        return self.theoretical_bits / self.codes if self.codes else 0.0

    @property
    def entropy_bits_per_weight(self) -> float:
        """Entropy per code in bits, including the mask."""
        return self.entropy_bits / self.codes if self.codes else 0.0

    @property
    def pruned_share(self) -> float:
        """Share of the codes that are pruned."""
        return self.pruned / self.codes if self.codes else 0.0


@dataclass(frozen=True)
class LayerSize:
    """One quantized layer.

    Attributes:
        name: dotted name.
        kind: `linear` or `convolution`.
        bits: code width. For paper codes, the width of the largest code.
        activation_bits: code width of its input; None for full precision.
        sizes: sizes of its weight.
    """

    name: str
    kind: str
    bits: int
    activation_bits: int | None
    sizes: CodeSizes


def measure_layer(name: str, layer: QuantizedLayer, size: int) -> LayerSize:
    """Return the sizes of a frozen layer; `size` is its bytes on disk."""
    codes, mask = layer.weight_codes, layer.weight_mask
    if codes is None:
        raise RuntimeError(f"{name} is not frozen")
    bits = layer.stored_bits()
    kept = codes if mask is None else codes[mask]
    sizes = CodeSizes(
        weights=layer.weight_shape.numel(),
        codes=codes.numel(),
        pruned=codes.numel() - kept.numel(),
        theoretical_bits=kept.numel() * bits + mask_bits(mask),
        entropy_bits=entropy_bits(kept) + (0.0 if mask is None else mask_entropy_bits(mask)),
        bytes=size,
    )
    inputs = getattr(layer, "input_quantizer", None)
    kind = "linear" if isinstance(layer, QuantLinear) else "convolution"
    return LayerSize(name, kind, bits, None if inputs is None else inputs.spec.bits, sizes)


def entropy_bits(values: Tensor) -> float:
    """Return n H of n small integers: the bits of an ideal code for them, without its table.

    >>> entropy_bits(torch.tensor([0, 1, 2, 3]))
    8.0
    """
    counts = torch.bincount(values.flatten().long()).double()
    counts = counts[counts > 0]
    return float((counts * (counts.sum() / counts).log2()).sum()) if len(counts) else 0.0


def mask_bits(mask: Tensor | None) -> int:
    """Return the bits of a mask (rows, columns): one per element, or one per row or column if whole ones are pruned."""
    if mask is None:
        return 0
    rows, columns = mask.shape
    if torch.equal(mask, mask[:, :1].expand_as(mask)):
        return rows
    return columns if torch.equal(mask, mask[:1].expand_as(mask)) else mask.numel()


def mask_entropy_bits(mask: Tensor) -> float:
    """Return the bits of a mask by an ideal code, of its elements or of its whole rows or columns."""
    plain = mask_bits(mask)
    share = mask.double().mean().item()
    if share in (0.0, 1.0):
        return 0.0
    return plain * -(share * math.log2(share) + (1 - share) * math.log2(1 - share))
