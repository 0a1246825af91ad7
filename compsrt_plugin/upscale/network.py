"""The network that enlarges: found, opened, and run by the engine where it can be."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from compsrt_plugin import bundled
from compsrt_plugin.config.files import command_line
from compsrt_plugin.engine import Engine, unsupported_reason
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import Network
from compsrt_plugin.packed_network import find_packed, open_packed
from compsrt_plugin.threads import checked, startable, warn

DEFAULT_SCALE, DEFAULT_BITS = 4, 3
CHANNELS = 3


@dataclass(frozen=True)
class OpenNetwork:
    """A packed network, ready to run.

    Attributes:
        run: see `inference.Network`.
        path: of the packed file.
        sha256: of the packed file.
        scale, bits: of the network.
        window: height and width of its input must be multiples of it.
        engine: whether the engine runs it; else PyTorch does, with simulated quantizers.
        why_not: the engine's reason not to, in a few words; empty where it was not asked.
    """

    run: Network
    path: Path
    sha256: str
    scale: int
    bits: int
    window: int
    engine: bool
    why_not: str = ""


def find_network(scale: int | None, bits: int | None, model: str | None) -> Path:
    """Return the packed file meant: the given one, else the one that comes with the package.

    Args:
        scale, bits: asked for; None takes x4 and 3 bits, or whatever `model` has.
        model: a packed file, or an option file that names one; None looks among the bundled ones.

    Raises:
        CompSRTError: no such file, or none bundled; says which are, and how to make this one.
    """
    if model is not None:
        return find_packed(model)
    scale, bits = scale or DEFAULT_SCALE, bits or DEFAULT_BITS
    name = f"compsrt_x{scale}_{bits}bit"
    path = bundled.WEIGHTS / f"{name}.safetensors"
    if path.is_file():
        return path
    raise CompSRTError(
        f"no network for x{scale} at {bits} bits comes with the package",
        allowed=", ".join(f"-s {s} --bits {b}" for s, b in bundled_networks()) or "--model FILE",
        hint=f"make it with: {command_line('train', scale, bits)}, "
        f"then give --model experiments/{name}/models/{path.name}",
    )


def bundled_networks() -> list[tuple[int, int]]:
    """Return (scale, bits) of the packed networks that come with the package."""
    names = (re.fullmatch(r"compsrt_x(\d)_(\d)bit", path.stem) for path in bundled.WEIGHTS.glob("*.safetensors"))
    return sorted((int(name[1]), int(name[2])) for name in names if name)


def network_for(path: Path, threads: int | None = None, engine: Literal["auto", "never"] = "auto") -> OpenNetwork:
    """Open a packed file and run it by the engine, or where that cannot be, simulated.

    Args:
        path: of the file.
        threads: that one forward pass uses; None: all cores.
        engine: `never` runs the simulated network.

    Raises:
        CompSRTError: the file cannot be read, its network does not take RGB, or `threads` is out of range.
    """
    if threads is not None:
        checked("threads", threads)
    source = open_packed(path)
    channels = source.header.arch.get("in_chans", CHANNELS)
    if channels != CHANNELS:
        raise CompSRTError(f"{path} holds a network for {channels} channels", allowed=f"{CHANNELS}: red, green, blue")
    why_not = ""
    run: Network | None = None
    if engine == "auto":
        why_not = unsupported_reason(source) or ""
        if not why_not:
            run = Engine(source, threads=threads)
    by_engine = run is not None
    if run is None:
        if threads is not None:
            found = startable(threads)
            if found < threads:
                warn(threads, found)
            torch.set_num_threads(found)
        run = source.network
    return OpenNetwork(
        run=run,
        path=source.path,
        sha256=hashlib.sha256(source.path.read_bytes()).hexdigest(),
        scale=source.header.scale,
        bits=source.header.bits,
        window=int(getattr(source.network, "window_size", 1)),
        engine=by_engine,
        why_not=why_not,
    )
