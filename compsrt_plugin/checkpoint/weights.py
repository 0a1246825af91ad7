"""Full-precision weights as people publish them: .pth or .safetensors, a path or an address."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file

from compsrt_plugin.checkpoint.container import FORMAT
from compsrt_plugin.checkpoint.download import check_sha256, fetch, file_sha256
from compsrt_plugin.checkpoint.inputs import HEAD_BYTES, WEIGHTS, FileKind, file_kind, open_input
from compsrt_plugin.errors import CompSRTError

EXPECTED = "a state dict of full-precision weights, .pth or .safetensors"
# What SwinIR keeps in its state dict although it computes it from its arguments; the shapes depend on the
# picture size it was built for, so a file may hold them, or not, or hold others.
DERIVED_BUFFERS = ("attn_mask", "relative_position_index")
PARAM_KEYS = ("params_ema", "params")
_AGAIN = "copy or download it again"


def load_weights(
    source: str | Path,
    *,
    param_key: str | None = None,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
    derived: bool = False,
) -> dict[str, torch.Tensor]:
    """Read the weights of a full-precision network, without running anything the file contains.

    The kind of file is told from its contents. The prefix `module.` of parallel training is taken off, and
    the buffers a network derives itself (`DERIVED_BUFFERS`) are left out.

    Args:
        source: path, or http(s) address; downloads are kept, see `fetch`.
        param_key: the entry of a .pth to take if it is there; else `params_ema`, `params`, the file itself.
        cache_dir: where downloads are kept.
        sha256: of the file, checked if given.
        timeout: seconds a server may stay silent.
        derived: whether derived buffers are kept, which tell something of the network.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        CompSRTError: not there, not reachable, no weights, damaged, or a pickle that could run code.
    """
    path = weights_file(source, cache_dir=cache_dir, sha256=sha256, timeout=timeout)
    try:
        return _read(path, str(source), param_key, derived)
    except CompSRTError:
        if _is_address(source):
            path.unlink()  # the next try downloads it anew
        raise


def weights_file(
    source: str | Path,
    *,
    expected: str = EXPECTED,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
) -> Path:
    """Return the file on this machine that `source` means, downloaded if need be.

    Args:
        source: path, or http(s) address.
        expected: what should be there, for messages: full-precision weights, or a packed checkpoint.
        cache_dir, sha256, timeout: as of `load_weights`.

    Raises:
        CompSRTError: not there, not reachable, or of no kind that weights come in.
    """
    address = str(source)
    if not _is_address(source):
        path = Path(source).expanduser()
        if sha256 is not None:
            check_sha256(path, file_sha256(path), sha256)
        with open_input(path, expected) as file:
            _weights_kind(file.read(HEAD_BYTES), address, expected)
        return path
    if not re.match("https?://", address, re.IGNORECASE):
        raise CompSRTError(f"cannot download {address}", allowed="a path, http:// or https://")
    return fetch(
        address,
        lambda head: _weights_kind(head, address, expected),
        cache_dir=cache_dir,
        sha256=sha256,
        timeout=timeout,
    )


def _is_address(source: str | Path) -> bool:
    return re.match("[a-z][a-z0-9+.-]+://", str(source), re.IGNORECASE) is not None


def _read(path: Path, source: str, param_key: str | None, derived: bool) -> dict[str, torch.Tensor]:
    with open_input(path, EXPECTED) as file:
        kind = _weights_kind(file.read(HEAD_BYTES), source)
    content = _read_safetensors(path, source) if kind is FileKind.SAFETENSORS else _read_torch(path, source)
    return _clean(_select(content, param_key), source, derived)


def _weights_kind(head: bytes, source: str, expected: str = EXPECTED) -> FileKind:
    """Return the kind of a file that may hold weights; raise for any other."""
    kind = file_kind(head)
    if kind in WEIGHTS:
        return kind
    hint = _AGAIN
    if kind is FileKind.HTML:
        hint = "use the address of the file itself, on GitHub …/releases/download/… or …/raw/…"
    elif kind is FileKind.LFS_POINTER:
        hint = "run `git lfs pull`"
    raise CompSRTError(f"{source} is {kind.value}", allowed=expected, hint=hint)


def _read_safetensors(path: Path, source: str) -> dict[str, torch.Tensor]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") == FORMAT:
            raise CompSRTError(
                f"{source} is a packed, quantized checkpoint",
                allowed=EXPECTED,
                hint="give the weights it was made from",
            )
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _damaged(source, error) from error


def _read_torch(path: Path, source: str) -> Any:
    try:
        if zipfile.is_zipfile(path):
            # torch.load leaves the checksums of the archive alone: a flipped bit would go unnoticed.
            with zipfile.ZipFile(path) as archive:
                spoiled = archive.testzip()
            if spoiled is not None:
                raise _damaged(source, f"the checksum of {spoiled} is wrong")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, on the way to a refusal
            return torch.load(path, map_location="cpu", weights_only=True)
    except CompSRTError:
        raise
    except pickle.UnpicklingError as error:
        call = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CompSRTError(
            f"{source} is a pickle of more than weights, which could run code"
            + (f" (it names {call[1]})" if call else ""),
            allowed=EXPECTED,
            hint="ask its author for a plain state dict",
        ) from error
    except Exception as error:  # spoiled bytes meet an unpickler: anything may be raised
        raise _damaged(source, error) from error


def _damaged(source: str, reason: object) -> CompSRTError:
    first = str(reason).strip().split("\n")[0][:120] or type(reason).__name__
    return CompSRTError(f"{source} is damaged or only part of a file ({first})", allowed=EXPECTED, hint=_AGAIN)


def _select(content: Any, param_key: str | None) -> Any:
    """Return the entry that holds the weights, or all if no entry does."""
    for key in (param_key, *PARAM_KEYS):
        if key is not None and isinstance(content, dict) and isinstance(content.get(key), dict):
            return content[key]
    return content


def _clean(content: Any, source: str, derived: bool) -> dict[str, torch.Tensor]:
    if not isinstance(content, dict) or not content:
        raise CompSRTError(f"{source} holds a {type(content).__name__} without entries", allowed=EXPECTED)
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        training = {"optimizers", "schedulers"} <= set(others)
        raise CompSRTError(
            f"{source} holds {len(others)} entries that are no tensors ({', '.join(others[:3])[:80]})",
            allowed=EXPECTED,
            hint="this is a training state: the weights lie in models/ beside it" if training else None,
        )
    wrapped = all(str(name).startswith("module.") for name in content)
    return {
        str(name)[len("module.") if wrapped else 0 :]: tensor
        for name, tensor in content.items()
        if derived or not str(name).endswith(DERIVED_BUFFERS)
    }
