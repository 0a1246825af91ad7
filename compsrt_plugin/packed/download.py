"""Download weight files once and keep them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import CACHE_VARIABLE, atomic_file, cache_root
from compsrt_plugin.packed.inputs import HEAD_BYTES, open_input
from compsrt_plugin.terminal import progress

_CHUNK = 1 << 16
_BY_HAND = "check the URL and the connection, or download the file by hand and give its path"


def fetch(
    url: str,
    check_head: Callable[[bytes], object],
    *,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
) -> Path:
    """Return the local copy of a file. Download it if there is none.

    A copy enters the cache only if the response is complete, `check_head` accepts its first bytes, and its checksum is
    correct (if one is given).

    Args:
        url: http or https.
        check_head: called with the first bytes (at most `HEAD_BYTES`). Raises for an unwanted response.
        cache_dir: cache folder, by default `files.cache_root()`. Files go into its subfolder `weights`.
        sha256: checksum of the file, 64 hexadecimal digits. A kept copy that differs is downloaded again.
        timeout: seconds that the server may stay silent.

    Raises:
        CompSRTError: the server cannot be reached, refuses, stops early, or sends another kind of file.
    """
    folder = Path(cache_dir).expanduser() if cache_dir else cache_root()
    name = re.sub(r"[^\w.-]", "_", urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1], flags=re.ASCII)
    # Many files are called model.pth. The URL distinguishes them.
    path = folder / "weights" / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name[-100:]}"
    if path.is_file() and (sha256 is None or file_sha256(path) == sha256.lower()):
        return path
    hint = f"free some space, or set {CACHE_VARIABLE} to a folder that you may write to"
    with _connect(url, timeout) as answer, atomic_file(path, hint=hint) as file:
        digest = hashlib.sha256()
        with progress(total=answer.length, desc=name, unit="B", unit_scale=True, leave=False) as bar:
            for i, chunk in enumerate(_chunks(answer, url)):
                if i == 0:
                    check_head(chunk[:HEAD_BYTES])
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
        check_sha256(url, digest.hexdigest(), sha256)
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raise CompSRTError if it cannot be read."""
    digest = hashlib.sha256()
    with open_input(path, "a file") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def check_sha256(source: object, found: str, expected: str | None) -> None:
    """Raise CompSRTError if a checksum is expected and `found` differs from it."""
    if expected is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{64}", expected):
        raise CompSRTError(f"sha256 is {expected!r}", allowed="64 hexadecimal digits")
    if found != expected.lower():
        raise CompSRTError(
            f"{source} has the sha256 {found}",
            allowed=expected.lower(),
            hint="the file is damaged or another one: get the right file or correct the checksum",
        )


@contextlib.contextmanager
def _connect(url: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    try:
        # Some servers reject Python's default user agent.
        request = urllib.request.Request(url, headers={"User-Agent": "compsrt_plugin"})
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise CompSRTError(f"{url} answers {error.code} {error.reason}", hint=_BY_HAND) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CompSRTError(f"cannot download {url}: {reason}", hint=_BY_HAND) from error
    with answer:
        yield answer


def _chunks(answer: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    """Yield the body in at least one chunk. Raise CompSRTError if it ends before its announced length."""
    announced, received = answer.length, 0
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise CompSRTError(f"the download of {url} broke off: {error}", hint=_BY_HAND) from error
        if not chunk and received:
            break
        received += len(chunk)
        yield chunk
        if not chunk:
            break
    if announced is not None and received != announced:
        raise CompSRTError(
            f"the download of {url} broke off after {received:,} of {announced:,} bytes", hint="try again"
        )
