"""Read and write packed files, and read full-precision weight files.

`open` rebuilds the network of a packed file and knows `config` and `archs`. `bundled` asks `config` for a command to
name in a message. All other modules know torch, safetensors and `quant` only.
"""

from compsrt_plugin.packed.bits import pack_bits, packed_size, unpack_bits
from compsrt_plugin.packed.container import is_packed
from compsrt_plugin.packed.format import Packed, read_packed, write_packed
from compsrt_plugin.packed.matching import check_matches
from compsrt_plugin.packed.weights import load_weights, weights_file

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
