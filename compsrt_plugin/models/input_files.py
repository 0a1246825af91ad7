"""The files a run starts from: given, downloaded or bundled, checked before a network is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from compsrt_plugin.config.checks import optional, text
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.networks import check_network
from compsrt_plugin.packed import Packed, bundled, is_packed, read_packed, weights_file
from compsrt_plugin.packed.container import EXPECTED as PACKED
from compsrt_plugin.packed.header import Header


def find_files(paths: dict[str, Any], scale: int, packed_bits: int | None, network_g: Mapping[str, Any]) -> str:
    """Settle `path.pretrain_network_g` on a file of this machine and return the teacher's, "" if there is none.

    Args:
        paths: the options' `path` block; `pretrain_network_g` and `pretrain_network_teacher` may be paths,
            addresses or empty, which means the file that `network_g` names, or else the bundled ones.
        scale: of the network.
        packed_bits: code width of the packed file to test; None: full precision is what the run starts from.
        network_g: the options' block; of a foreign network nothing is bundled, and a test does without a teacher.

    Raises:
        CompSRTError: a file that is not there, not reachable, or of another kind.
    """
    given, foreign, own = paths.get("pretrain_network_g"), "base" in network_g, _own_file(network_g)
    if foreign and not given and (packed_bits is not None or own is None):
        what = "full-precision weights" if packed_bits is None else "packed network to test"
        hint = None if packed_bits is not None else _published(network_g)
        raise CompSRTError("path.pretrain_network_g is empty", allowed=f"the {what}: a path or an address", hint=hint)
    if packed_bits is None:
        paths["pretrain_network_g"] = str(weights_file(given or own or bundled.teacher_path(scale)))
        return paths["pretrain_network_g"]
    checkpoint = given or bundled.checkpoint_path(scale, packed_bits)
    paths["pretrain_network_g"] = str(weights_file(checkpoint, expected=PACKED))
    teacher = paths.get("pretrain_network_teacher")
    if foreign and not teacher and (own is None or not Path(own).expanduser().is_file()):
        return ""
    return str(weights_file(teacher or own or bundled.teacher_path(scale)))


def asked_entry(opt: Mapping[str, Any]) -> str | None:
    """Return the entry of weight files that the options ask for: `path.param_key_g`, or that of `network_g.base`.

    Raises:
        CompSRTError: no text, or two that differ.
    """
    asked, base = opt["path"].get("param_key_g"), opt["network_g"].get("base")
    optional(text())("path.param_key_g", asked)
    own = base.get("param_key") if isinstance(base, Mapping) else None
    if None not in (own, asked) and own != asked:
        raise CompSRTError(
            f"network_g.base.param_key is {own}, path.param_key_g is {asked}", hint="leave one of the two out"
        )
    return own if asked is None else asked


def _published(network_g: Mapping[str, Any]) -> str | None:
    """Return where weights of the wrapped class are published, as its attribute `WEIGHTS` says; None if unknown."""
    base = network_g.get("base")
    name = base.get("type") if isinstance(base, Mapping) else None
    return getattr(dict(iter(ARCH_REGISTRY)).get(name), "WEIGHTS", None)


def _own_file(network_g: Mapping[str, Any]) -> str | None:
    """Return the weight file by which the block describes its network."""
    base = network_g.get("base")
    return base.get("file") if isinstance(base, Mapping) else None


def read_packed_for_test(path: str, scale: int, bits: int) -> tuple[Packed, Header]:
    """Read a packed file for a test at this scale and code width.

    Raises:
        CompSRTError: damaged, full precision, of another scale or width, or of a network nobody can build.
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
                hint="take the option file that fits, or another checkpoint",
            )
    check_network(header.arch, scale, path)
    return packed, header


def differences(asked: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say where the option file's `network_g` is not that of the packed file, which decides.

    >>> differences({"type": "CompSRTSwinIR", "depths": (6, 6)}, {"type": "CompSRTSwinIR", "depths": [6, 6, 6]})
    ['depths is [6, 6, 6], not [6, 6]']
    """
    asked = {key: value for key, value in asked.items() if key != "base" or _own_file(asked) is None}
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asked.items()}
    return [f"{key} is {found[key]}, not {plain[key]}" for key in found if key in plain and plain[key] != found[key]]
