"""The weight files that come with the package.

`basicsr doctor` checks them against `weights/manifest.json`, which `tools/write_manifest.py` writes.
"""

from __future__ import annotations

from pathlib import Path

from compsrt_plugin.config.files import command_line
from compsrt_plugin.errors import CompSRTError

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST = WEIGHTS / "manifest.json"


def teacher_path(scale: int) -> Path:
    """Return the bundled full-precision SwinIR-light for `scale`.

    Raises:
        CompSRTError: if none is bundled for this scale.
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
    """Return the bundled packed checkpoint of SwinIR-light.

    Raises:
        CompSRTError: if there is none; names the train file that makes it.
    """
    name = f"compsrt_x{scale}_{bits}bit"
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        made = f"path:pretrain_network_g=experiments/{name}/models/{name}.safetensors"
        raise CompSRTError(
            f"no checkpoint for x{scale} at {bits} bits comes with the package",
            hint=f"make it with: {command_line('train', scale, bits)}, "
            f"then test it with: {command_line('test', scale, bits, made)}",
        )
    return path
