"""The weight files that come with the package: their names and places, and the manifest that `doctor` checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compsrt_plugin.config.files import command_line
from compsrt_plugin.errors import CompSRTError

WEIGHTS = Path(__file__).parent.parent / "weights"
REPOSITORY_FILE = "model.safetensors"  # in a repository of the Hugging Face Hub
MANIFEST = WEIGHTS / "manifest.json"  # written by tools/write_manifest.py

# What names of bundled networks begin with, best network first. `compsrt` is SwinIR-light.
FAMILIES = ("dat_light", "compsrt")
DEFAULT_SCALE, DEFAULT_BITS = 4, 4


@dataclass(frozen=True)
class BundledNetwork:
    """A packed network that comes with the package.

    Attributes:
        name: as users give it, such as `dat_light_x4_4bit`.
        scale: factor by which it enlarges.
        bits: nominal code width.
        path: its file.
    """

    name: str
    scale: int
    bits: int
    path: Path


def teacher_path(scale: int) -> Path:
    """Return the bundled full-precision SwinIR-light for `scale`.

    Raises:
        CompSRTError: none is bundled for this scale.
    """
    path = WEIGHTS / f"swinir_light_x{scale}_teacher.safetensors"
    if not path.is_file():
        raise CompSRTError(
            f"no full-precision SwinIR-light x{scale} comes with the package",
            allowed="x2, x3, x4",
            hint="give one: path.pretrain_network_teacher in a test file, path.pretrain_network_g in a train file",
        )
    return path


def checkpoint_path(scale: int, bits: int) -> Path:
    """Return the bundled packed file of SwinIR-light.

    Raises:
        CompSRTError: none is bundled for this scale and width. The message names the train file that makes one.
    """
    path = packed_path(scale, bits)
    if not path.is_file():
        made = f"path:pretrain_network_g=experiments/{path.stem}/models/{path.name}"
        raise CompSRTError(
            f"no checkpoint for x{scale} at {bits} bits comes with the package",
            hint=f"make it with: {command_line('train', scale, bits)}, "
            f"then test it with: {command_line('test', scale, bits, made)}",
        )
    return path


def packed_path(scale: int, bits: int) -> Path:
    """Return where the bundled packed file for a scale and a code width lies. It need not exist."""
    return WEIGHTS / f"compsrt_x{scale}_{bits}bit.safetensors"


def bundled_networks() -> list[BundledNetwork]:
    """Return the packed networks that come with the package: best family first, then by scale and bits."""
    found = []
    for family in FAMILIES:
        for path in sorted(WEIGHTS.glob(f"{family}_x*_*bit.safetensors")):
            named = re.fullmatch(rf"{family}_x(\d)_(\d)bit", path.stem)
            if named:
                found.append(BundledNetwork(path.stem, int(named[1]), int(named[2]), path))
    return found


def bundled_names() -> list[str]:
    """Return the names of the packed networks that come with the package, in the order of `bundled_networks`."""
    return [network.name for network in bundled_networks()]


def find_bundled(scale: int | None, bits: int | None) -> Path:
    """Return the best bundled network of a scale and a code width.

    Args:
        scale, bits: the values asked for; None stands for x4 and for 4 bits.

    Raises:
        CompSRTError: none is bundled. The message lists those that are and says how to make this one.
    """
    scale, bits = scale or DEFAULT_SCALE, bits or DEFAULT_BITS
    networks = bundled_networks()
    for network in networks:
        if (network.scale, network.bits) == (scale, bits):
            return network.path
    name = packed_path(scale, bits).stem
    choices = dict.fromkeys(f"-s {network.scale} --bits {network.bits}" for network in networks)
    raise CompSRTError(
        f"no network for x{scale} at {bits} bits comes with the package",
        allowed=", ".join(choices) or "--model FILE",
        hint=f"make it with: {command_line('train', scale, bits)}, "
        f"then give --model experiments/{name}/models/{name}.safetensors",
    )


def local_path(source: str | Path) -> Path:
    """Return the file that a path or the name of a bundled network stands for. An existing path comes first.

    A folder that holds a repository of the Hugging Face Hub (`publish.hub`) stands for its weight file.
    """
    path = Path(source).expanduser()
    try:
        if (path / REPOSITORY_FILE).is_file():
            return path / REPOSITORY_FILE
        if not path.exists() and str(source) in bundled_names():
            return WEIGHTS / f"{source}.safetensors"
    except OSError:  # a name that is too long; whoever opens it says so
        pass
    return path
