"""What the fuzzer feeds: the three readers of files that people are given, and the engine. Each must end well.

Ending well is a result, or a CompSRTError of one line. Any other exception is a finding. Checksums would stop nearly
every changed file at the door, so a first byte chooses how much of the way is gone by us: see each target.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from packed.damages import put_together

from compsrt_plugin.config.check import check_options
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import load_weights, read_packed, strict_json
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.layout import unpack_layout

LONGEST = 4000  # characters of a message
FOLDER = Path(tempfile.mkdtemp(prefix="compsrt_fuzz-"))


def packed(data: bytes) -> None:
    """Read a packed file: as it is, sealed anew, its table alone, or the JSON of its header alone."""
    way, content = data[:1], data[1:]
    if way == b"t":
        with _expected(ValueError):
            unpack_layout(zlib.compress(content, 1))
        return
    if way == b"h":
        with _expected(ValueError):
            header = strict_json.load_strict(content)
            if isinstance(header, dict):
                Header.parse(header, "file.safetensors")
        return
    length = int.from_bytes(content[:8], "little")
    if way == b"s" and length < len(content):
        content = put_together(content[8 : 8 + length], content[8 + length :], seal=True)
    path = _file("case.safetensors", content)
    with _expected():
        found = read_packed(path)
        Header.parse(found.header, path)


def weights(data: bytes) -> None:
    """Read weights: as they are, or the pickle of a .pth whose checksums are right."""
    content = data[1:]
    if data[:1] == b"z":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, part in {"data.pkl": content, "version": b"3\n", "byteorder": b"little"}.items():
                archive.writestr(f"archive/{name}", part)
            for number in range(3):
                archive.writestr(f"archive/data/{number}", bytes(64))
        content = buffer.getvalue()
    with _expected():
        load_weights(_file("case.pth", content))


def options(data: bytes) -> None:
    """Read an option file, as `basicsr test` (t) or `basicsr train` does, until files are opened."""
    command = "test" if data[:1] == b"t" else "train"
    path = _file("case.yml", data[1:])
    with _expected():
        found: dict[str, Any] = read_option_file(path)
        check_options(found, command, path.name)


def engine(data: bytes) -> None:
    """Run the engine on the network, images and threads that `random_networks.draw` makes of these bytes."""
    import random_networks as cases  # the readers need none of what it imports

    case = cases.draw(_Drawn(data))
    wrong = cases.failure(case)
    cases._network.cache_clear()
    assert wrong is None, f"{wrong}: {case}"


class _Drawn(random.Random):
    """Draws from given bytes, so that a changed byte changes one draw; 0 once they are used up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.data = io.BytesIO(data)

    def getrandbits(self, k: int, /) -> int:
        size = -(-k // 8)
        return int.from_bytes(self.data.read(size).ljust(size, b"\0"), "little") & ((1 << k) - 1)

    def random(self) -> float:
        return self.getrandbits(8) / 256


TARGETS: dict[str, Callable[[bytes], None]] = {
    "packed": packed,
    "weights": weights,
    "options": options,
    "engine": engine,
}


class _expected:
    """Swallow a CompSRTError of one line, and errors of kinds that the caller of an inner function handles."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self.kinds = kinds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if isinstance(error, CompSRTError):
            message = str(error)
            assert "\n" not in message and len(message) < LONGEST, f"no single line: {message[:LONGEST]!r}"
            return True
        return isinstance(error, self.kinds)


def _file(name: str, content: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(content)
    return path
