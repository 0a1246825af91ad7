"""The weight files that a run reads: given, downloaded or bundled, checked before a network is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import Packed, bundled, is_packed, read_packed, weights_file
from compsrt_plugin.packed.container import EXPECTED_PACKED as PACKED
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.networks import check_network_block
from compsrt_plugin.zoo.base import described_by


def find_files(paths: dict[str, Any], scale: int, packed_bits: int | None, network_g: Mapping[str, Any]) -> str:
    """Set `path.pretrain_network_g` to a local file and return the local file of the teacher, "" if there is none.

    Args:
        paths: the options' `path` block. `pretrain_network_g` and `pretrain_network_teacher` may be paths, URLs or
            empty. Empty means the file that `network_g` names, or else the bundled file.
        scale: of the network.
        packed_bits: code width of the packed file to test; None: the run starts from full precision.
        network_g: the options' block. No files of foreign networks are bundled; a test runs without their teacher.

    Raises:
        CompSRTError: a file is missing, unreachable, or of another kind.
    """
    given, foreign, own = paths.get("pretrain_network_g"), "base" in network_g, _own_file(network_g)
    if foreign and not given and (packed_bits is not None or own is None):
        what = "full-precision weights" if packed_bits is None else "packed network to test"
        hint = None if packed_bits is not None else _published(network_g)
        raise CompSRTError("path.pretrain_network_g is empty", allowed=f"the {what}: a path or a URL", hint=hint)
    if packed_bits is None:
        paths["pretrain_network_g"] = str(_full_precision(given, own, scale))
        return paths["pretrain_network_g"]
    checkpoint = given or bundled.checkpoint_path(scale, packed_bits)
    paths["pretrain_network_g"] = str(weights_file(checkpoint, expected=PACKED))
    teacher = paths.get("pretrain_network_teacher")
    if foreign and not teacher and (own is None or not Path(own).expanduser().is_file()):
        return ""
    return str(_full_precision(teacher, own, scale))


def _full_precision(given: str | None, own: str | None, scale: int) -> Path:
    """Return the file of full-precision weights: `given`, else that of `network_g`, else the bundled one."""
    if own and not given:
        return described_by(own)
    return weights_file(given or bundled.teacher_path(scale))


def _published(network_g: Mapping[str, Any]) -> str | None:
    """Return the wrapped class's attribute `WEIGHTS`, which says where its weights are published, or None."""
    base = network_g.get("base")
    name = base.get("type") if isinstance(base, Mapping) else None
    return getattr(dict(iter(ARCH_REGISTRY)).get(name), "WEIGHTS", None)


def _own_file(network_g: Mapping[str, Any]) -> str | None:
    """Return the weight file that describes the network, `base.file`, or None."""
    base = network_g.get("base")
    return base.get("file") if isinstance(base, Mapping) else None


def read_packed_for_test(path: str, scale: int, bits: int) -> tuple[Packed, Header]:
    """Read the packed file of a test and check its scale and code width.

    Raises:
        CompSRTError: the file is damaged, full precision, of another scale or width, or its network cannot be built.
    """
    if not is_packed(path):
        raise CompSRTError(
            f"{path} is not a packed quantized network, which quant: needs in a test",
            hint=f"quantize it: basicsr train … --force_yml path:pretrain_network_g={path}, "
            "or test it as it is: --force_yml quant=null",
        )
    packed = read_packed(path)
    header = Header.parse(packed.header, path, packed.state)
    for what, found, asked in (("scale", header.scale, scale), ("bits", header.bits, bits)):
        if found != asked:
            raise CompSRTError(
                f"{path} has {what} {found}, the option file says {asked}",
                hint="use the option file for this checkpoint, or another checkpoint",
            )
    check_network_block(header.arch, scale, path)
    return packed, header


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the differences between the option file's `network_g` and the packed file's, which is used.

    >>> differences({"type": "CompSRTSwinIR", "depths": (6, 6)}, {"type": "CompSRTSwinIR", "depths": [6, 6, 6]})
    ['depths is [6, 6, 6], not [6, 6]']
    """
    asked = {key: value for key, value in asked.items() if key != "base" or _own_file(asked) is None}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items()}
    return [f"{key} is {found[key]}, not {plain[key]}" for key in found if key in plain and plain[key] != found[key]]
