"""Load full-precision weights: .pth or .safetensors, from a path or a URL."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.bundled import local_path
from compsrt_plugin.packed.container import FORMAT
from compsrt_plugin.packed.download import check_sha256, fetch, file_sha256
from compsrt_plugin.packed.entries import EXPECTED_WEIGHTS, choose_entry, plain_names
from compsrt_plugin.packed.inputs import HEAD_BYTES, WEIGHT_KINDS, FileKind, check_torch, file_kind, open_input

# Buffers that SwinIR keeps in its state dict although it derives them from its arguments. Their shapes depend on the
# image size that the network was built for, so files may have them, lack them, or have other ones.
DERIVED_BUFFERS = ("attn_mask", "relative_position_index")
# Narrower dtypes are meaningless without their scales.
NUMBERS = {
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip
_AGAIN = "copy or download it again"
NEXT_STEPS = {
    FileKind.HTML: "use the URL of the file itself, on GitHub …/releases/download/… or …/raw/…",
    FileKind.LFS_POINTER: "run `git lfs pull`",
    FileKind.ARCHIVE: "unpack it",
    FileKind.EMPTY: _AGAIN,
    FileKind.UNKNOWN: _AGAIN,
}


def load_weights(
    source: str | Path,
    *,
    param_key: str | None = None,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
    derived: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the weights of a full-precision network, without running code from the file.

    The content of the file determines its kind. `entries.choose_entry` selects the entry and logs it. Wrapper prefixes
    (`entries.plain_names`) and the buffers that a network derives itself (`DERIVED_BUFFERS`) are removed.

    Args:
        source: path or http(s) URL. Downloads are kept; see `fetch`.
        param_key: the entry to use; see `entries.choose_entry` for the default.
        cache_dir: folder of downloads.
        sha256: checksum of the file, checked if given.
        timeout: seconds that a server may stay silent.
        derived: whether to keep derived buffers, which carry information about the network.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        CompSRTError: the file is missing, unreachable, damaged or has no weights; it has several networks and none is
            requested; it has tensors that no network can load (sparse, quantized, without data); or it is a pickle that
            could run code.
    """
    path = weights_file(source, cache_dir=cache_dir, sha256=sha256, timeout=timeout)
    try:
        return _read(path, str(source), param_key, derived)
    except CompSRTError:
        if is_url(source):
            path.unlink()  # the next attempt downloads it again
        raise


def weights_file(
    source: str | Path,
    *,
    expected: str = EXPECTED_WEIGHTS,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
    if_missing: str = "check the path",
) -> Path:
    """Return the local file of a path, a URL or a bundled network's name. A URL is downloaded if necessary.

    Args:
        source: path, http(s) URL, or name of a packed network that comes with the package.
        expected: what the file should be, for messages: full-precision weights, or a packed checkpoint.
        cache_dir, sha256, timeout: see `load_weights`.
        if_missing: see `open_input`.

    Raises:
        CompSRTError: the file is missing, unreachable, or not a kind of weight file.
    """
    address = str(source)
    if not is_url(source):
        path = local_path(source)
        if sha256 is not None:
            check_sha256(path, file_sha256(path), sha256)
        with open_input(path, expected, if_missing) as file:
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


def is_url(source: str | Path) -> bool:
    """Return whether `source` is a URL and not a path."""
    return re.match("[a-z][a-z0-9+.-]+://", str(source), re.IGNORECASE) is not None


def _read(path: Path, source: str, param_key: str | None, derived: bool) -> dict[str, torch.Tensor]:
    with open_input(path, EXPECTED_WEIGHTS) as file:
        kind = _weights_kind(file.read(HEAD_BYTES), source)
    content = _read_safetensors(path, source) if kind is FileKind.SAFETENSORS else _read_torch(path, source)
    return _clean(choose_entry(content, param_key, source), source, derived)


def _weights_kind(head: bytes, source: str, expected: str = EXPECTED_WEIGHTS) -> FileKind:
    """Return the kind of a file that may hold weights. Raise CompSRTError for any other."""
    kind = file_kind(head)
    if kind in WEIGHT_KINDS:
        return kind
    raise CompSRTError(f"{source} is {kind.value}", allowed=expected, hint=NEXT_STEPS.get(kind, "name another file"))


def _read_safetensors(path: Path, source: str) -> dict[str, torch.Tensor]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") == FORMAT:
            raise CompSRTError(
                f"{source} is a packed, quantized checkpoint",
                allowed=EXPECTED_WEIGHTS,
                hint="use the weights that it was made from",
            )
        return load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise _damaged(source, error) from error


def _read_torch(path: Path, source: str) -> Any:
    check_torch(source)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_archive(archive, source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols of files that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except CompSRTError:
        raise
    except pickle.UnpicklingError as error:
        call = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CompSRTError(
            f"{source} is a pickle of more than weights, which could run code"
            + (f" (it names {call[1]})" if call else ""),
            allowed=EXPECTED_WEIGHTS,
            hint="ask its author for a plain state dict",
        ) from error
    except Exception as error:  # damaged data can make the unpickler raise anything
        raise _damaged(source, error) from error


def _check_archive(archive: zipfile.ZipFile, source: str) -> None:
    """Refuse archives that are not PyTorch's or whose checksums are wrong (torch.load does not check these)."""
    names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
    kind = None
    if "constants.pkl" in names:
        kind = "a TorchScript program, which is code"
    elif "archive_format" in names:
        kind = "an exported program (.pt2), which is code"
    elif any(name.endswith(".npy") for name in names):
        kind = "a NumPy archive (.npz)"
    elif "data.pkl" not in names:
        inside = next((name for name in archive.namelist() if name.endswith((".pth", ".pt", ".safetensors"))), None)
        kind = "a ZIP archive without weights: another kind of file, damaged, or truncated"
        if inside:
            kind = f"a ZIP archive: unpack it and name {inside[:80]}"
    if kind is not None:
        raise CompSRTError(f"{source} is {kind}", allowed=EXPECTED_WEIGHTS)
    spoiled = archive.testzip()
    if spoiled is not None:
        raise _damaged(source, f"the checksum of {spoiled} is wrong")


def _damaged(source: str, reason: object) -> CompSRTError:
    first = str(reason).strip().split("\n")[0][:120] or type(reason).__name__
    return CompSRTError(f"{source} is damaged or truncated ({first})", allowed=EXPECTED_WEIGHTS, hint=_AGAIN)


def _clean(content: Mapping[str, Any], source: str, derived: bool) -> dict[str, torch.Tensor]:
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise CompSRTError(
            f"{source} holds {len(others)} entries that are not tensors ({', '.join(others[:3])[:80]})",
            allowed=EXPECTED_WEIGHTS,
        )
    tensors = {
        name: tensor for name, tensor in plain_names(content).items() if derived or not name.endswith(DERIVED_BUFFERS)
    }
    for name, tensor in tensors.items():
        found = _not_plain(name, tensor)
        if found is not None:
            raise CompSRTError(
                f"{source} holds {found}: {name[:80]}",
                allowed="dense tensors of floating-point numbers",
                hint="save the full-precision network's state_dict() from the CPU",
            )
    return tensors


def _not_plain(name: str, tensor: torch.Tensor) -> str | None:
    """Return what a tensor is if no network can load it, else None."""
    if tensor.is_meta:
        return "a tensor without data (device meta)"
    if tensor.layout is not torch.strided:
        return f"a sparse tensor ({_short(tensor.layout)})"
    if tensor.is_complex():
        return f"complex numbers ({_short(tensor.dtype)})"
    if tensor.dtype not in NUMBERS:
        return f"a quantized tensor ({_short(tensor.dtype)})"
    if name.endswith(("weight", "bias")) and not tensor.is_floating_point():
        return f"a weight of integers ({_short(tensor.dtype)})"
    return None


def _short(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")
