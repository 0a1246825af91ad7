"""Bits ↔ bytes, the packed file, and other people's weight files. Knows torch and safetensors only."""

from compsrt_plugin.checkpoint.bits import pack_bits, packed_size, unpack_bits
from compsrt_plugin.checkpoint.container import is_packed
from compsrt_plugin.checkpoint.format import Packed, read_packed, write_packed
from compsrt_plugin.checkpoint.matching import check_matches
from compsrt_plugin.checkpoint.weights import load_weights, weights_file

__all__ = [
    "Packed",
    "check_matches",
    "is_packed",
    "load_weights",
    "pack_bits",
    "packed_size",
    "read_packed",
    "unpack_bits",
    "weights_file",
    "write_packed",
]
