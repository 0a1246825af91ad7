"""Find and open the network that enlarges. The engine runs it where it can, else PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from compsrt_plugin.engine import Engine, unsupported_reason
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.inference import UpscaleCall
from compsrt_plugin.packed import bundled
from compsrt_plugin.packed.open import find_packed, open_packed
from compsrt_plugin.threads import checked, startable, warn

CHANNELS = 3


@dataclass(frozen=True)
class OpenNetwork:
    """A packed network, ready to run.

    Attributes:
        run: the network; see `inference.UpscaleCall`.
        path: the packed file.
        sha256: of the packed file.
        scale: factor by which it enlarges.
        bits: nominal code width.
        window: input height and width must be multiples of this.
        engine: whether the engine runs it. If not, PyTorch does, with simulated quantizers.
        why_not: why the engine does not run it; empty if the engine was not asked.
    """

    run: UpscaleCall
    path: Path
    sha256: str
    scale: int
    bits: int
    window: int
    engine: bool
    why_not: str = ""


def find_network(
    scale: int | None = None, bits: int | None = None, name: str | None = None, model: str | None = None
) -> Path:
    """Return the packed file to use: `model`, the bundled network called `name`, or the best bundled one.

    Args:
        scale, bits: the values asked for; None stands for x4 and 4 bits. A file or a name decides by itself.
        name: of a bundled network.
        model: a packed file or a weight file, the URL of one, or an option file that names one.

    Raises:
        CompSRTError: there is no such file, or it cannot be downloaded. The message lists the bundled ones and says how
            to make this one.
    """
    if model is not None:
        return find_packed(model)
    if name is None:
        return bundled.find_bundled(scale, bits)
    if name not in (known := bundled.bundled_names()):
        raise unknown_name("network", name, known)
    return bundled.local_path(name)


def network_for(path: Path, threads: int | None = None, engine: Literal["auto", "never"] = "auto") -> OpenNetwork:
    """Open a packed file. The engine runs its network where it can, else PyTorch simulates it.

    Args:
        path: the packed file.
        threads: threads of one forward pass; None uses all cores.
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
    run: UpscaleCall | None = None
    if engine == "auto":
        why_not = unsupported_reason(source) or ""
        if not why_not:
            run = Engine(source, threads=threads)
    by_engine = run is not None
    if run is None:
        take_threads(threads)
        run = source.network
    return OpenNetwork(
        run=run,
        path=source.path,
        sha256=source.packed.sha256,
        scale=source.header.scale,
        bits=source.header.bits,
        window=int(getattr(source.network, "window_size", 1)),
        engine=by_engine,
        why_not=why_not,
    )


def take_threads(threads: int | None) -> None:
    """Let PyTorch compute with this many threads, with a warning if the system starts fewer; None changes nothing."""
    if threads is not None:
        found = startable(threads)
        if found < threads:
            warn(threads, found)
        torch.set_num_threads(found)
