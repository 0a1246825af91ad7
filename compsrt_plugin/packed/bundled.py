"""The weight files that come with the package: where each one is, and the manifest that `basicsr doctor` checks."""

from __future__ import annotations

import re
from pathlib import Path

from compsrt_plugin.config.files import command_line
from compsrt_plugin.errors import CompSRTError

WEIGHTS = Path(__file__).parent.parent / "weights"
MANIFEST = WEIGHTS / "manifest.json"  # written by tools/write_manifest.py


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


def bundled_networks() -> list[tuple[int, int]]:
    """Return (scale, bits) of every bundled packed file, sorted."""
    names = (re.fullmatch(r"compsrt_x(\d)_(\d)bit", path.stem) for path in WEIGHTS.glob("*.safetensors"))
    return sorted((int(name[1]), int(name[2])) for name in names if name)
