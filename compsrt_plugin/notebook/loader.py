"""Load a packed network by a bundled name, a path, an option file or a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.notebook.upscaler import Upscaler
from compsrt_plugin.packed.bundled import bundled_names
from compsrt_plugin.packed.open import find_packed
from compsrt_plugin.upscale.open_network import network_for
from compsrt_plugin.zoo.own_classes import register_class


def load(
    source: str | Path,
    *,
    threads: int | None = None,
    engine: Literal["auto", "never"] = "auto",
    network_class: type[nn.Module] | None = None,
) -> Upscaler:
    """Return a packed network, ready to upscale.

    Args:
        source: name of a bundled network (`"compsrt_x4_3bit"`), path of a packed file or of a repository of the
            Hugging Face Hub, option file that names one, or http(s) URL. A URL is downloaded once.
        threads: threads of one forward pass; None uses all cores.
        engine: `never` runs the simulated network in PyTorch even if the integer engine can run it.
        network_class: your own class, if the file holds a network of one: a file names its class and holds no code.

    Raises:
        CompSRTError: there is no such name or file, it cannot be downloaded, or it is not a packed network.

    >>> load("compsrt_x4_3bit").scale
    4
    """
    if network_class is not None:
        register_class(network_class)
    return Upscaler(network_for(find_network_file(source), threads, engine))


def find_network_file(source: str | Path) -> Path:
    """Return the packed file that `source` names, as `load` takes it; a URL is downloaded.

    Raises:
        CompSRTError: there is no such name or file, or it cannot be downloaded.
    """
    name, known = str(source), bundled_names()
    path = find_packed(name)
    if not path.exists() and not path.suffix:
        raise unknown_name("network", name, known)
    if path.is_dir():
        raise CompSRTError(f"{path} is a folder", allowed="a packed file, or one of: " + ", ".join(known))
    return path
