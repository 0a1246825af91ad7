"""Bits ↔ bytes, the packed file, and other people's weight files. Knows torch and safetensors only."""

from .bits import pack_bits, packed_size, unpack_bits
from .container import is_packed
from .download import cache_folder
from .format import Packed, read_packed, write_packed
from .matching import check_matches
from .weights import load_weights

__all__ = [
    "Packed",
    "cache_folder",
    "check_matches",
    "is_packed",
    "load_weights",
    "pack_bits",
    "packed_size",
    "read_packed",
    "unpack_bits",
    "write_packed",
]
