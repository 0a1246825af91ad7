"""Weight files from the network, fetched once and kept."""

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
_BY_HAND = "check the address and the network, or download the file by hand and give its path"


def fetch(
    url: str,
    check_head: Callable[[bytes], object],
    *,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
) -> Path:
    """Return the local copy of a file, downloading it if it is not there yet.

    A copy appears in the cache only when the answer was complete, `check_head` accepted its beginning and
    its checksum, if one is asked for, is right.

    Args:
        url: http or https.
        check_head: called with the first bytes (at most `HEAD_BYTES`); raises for an answer not wanted.
        cache_dir: of all downloads, `files.cache_root()` if left out; ours go into its `weights`.
        sha256: of the file, 64 hexadecimal digits. A kept copy that differs is fetched anew.
        timeout: seconds the server may stay silent.

    Raises:
        CompSRTError: the server cannot be reached, refuses, stops early, or sends something else.
    """
    folder = Path(cache_dir).expanduser() if cache_dir else cache_root()
    name = re.sub(r"[^\w.-]", "_", urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1], flags=re.ASCII)
    # Many files are called model.pth: the address tells them apart.
    path = folder / "weights" / f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name[-100:]}"
    if path.is_file() and (sha256 is None or file_sha256(path) == sha256.lower()):
        return path
    hint = f"free some space, or set {CACHE_VARIABLE} to a folder that can be written"
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
    """Return the sha256 of a file in hexadecimal; `CompSRTError` if it cannot be read."""
    digest = hashlib.sha256()
    with open_input(path, "a file") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def check_sha256(source: object, found: str, expected: str | None) -> None:
    """Raise `CompSRTError` unless `found` is the checksum expected, or none is."""
    if expected is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{64}", expected):
        raise CompSRTError(f"sha256 is {expected!r}", allowed="64 hexadecimal digits")
    if found != expected.lower():
        raise CompSRTError(
            f"{source} has the sha256 {found}",
            allowed=expected.lower(),
            hint="it is another file, or damaged: get the right one or correct the checksum",
        )


@contextlib.contextmanager
def _connect(url: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    try:
        # Some servers turn away Python's own name.
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
    """Yield the body, at least one chunk; raise `CompSRTError` where it ends before its announced length."""
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
