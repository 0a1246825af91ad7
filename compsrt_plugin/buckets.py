"""Read and write objects of S3 buckets by the methods of `pathlib.Path` that `upscale` needs. pyarrow does the work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError, write_whole

EXAMPLE = "s3://BUCKET/PREFIX, with ?endpoint_override=HOST:PORT&scheme=http behind it for a server of your own"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_ADDRESS = re.compile(r"s3://(?P<bucket>[^/?@]+)(?P<key>/.*?)?(?P<query>\?[a-z_]+=.*)?")
_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of an account that may use the bucket"
# What the servers' error codes mean for the user -> the next step
_CAUSES = {
    "NO_SUCH_BUCKET": ("there is no such bucket", "check the name, the region and the endpoint"),
    "ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|EXPIRED": (
        "access is denied",
        _KEYS,
    ),
    "NETWORK_CONNECTION": ("the server is not reached", "check AWS_ENDPOINT_URL, or endpoint_override in the address"),
}


@dataclass(frozen=True)
class BucketStat:
    """Size in bytes and time of modification of an object, named as in `os.stat_result`.

    The time is rounded down to seconds: some servers list fractions that they leave out for a single object.
    """

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True)
class BucketPath:
    """An object of a bucket, or the prefix of several. It shows itself without its query.

    Attributes:
        bucket: the name of the bucket.
        key: of the object, without a slash at either end; empty for the bucket itself.
        query: of the address from the question mark on, which names an endpoint or a region; or empty.
        known: what a listing said about the object.
    """

    bucket: str
    key: str = ""
    query: str = ""
    known: BucketStat | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"s3://{self._place}"

    def __truediv__(self, name: str | PurePath) -> BucketPath:
        """Return the object called `name` below this prefix."""
        name = name.as_posix() if isinstance(name, PurePath) else name
        return replace(self, key=f"{self.key}/{name}".strip("/"), known=None)

    @property
    def _place(self) -> str:
        return f"{self.bucket}/{self.key}".rstrip("/")

    @property
    def name(self) -> str:
        """The part of the key behind the last slash."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The extension of the name, with its dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> BucketPath:
        """The prefix that holds the object."""
        return replace(self, key=self.key.rpartition("/")[0], known=None)

    def relative_to(self, root: BucketPath) -> PurePosixPath:
        """Return the key below `root`."""
        return PurePosixPath(self.key).relative_to(root.key)

    def absolute(self) -> BucketPath:
        """Return the path itself."""
        return self

    def resolve(self) -> BucketPath:
        """Return the path itself: buckets have no links."""
        return self

    def stat(self) -> BucketStat:
        """Return size and time, from the listing that found the object if there was one.

        Raises:
            CompSRTError: there is no such object, or the bucket is closed or not reached.
        """
        if self.known is not None:
            return self.known
        info = self._info()
        if not info.is_file:
            raise CompSRTError(f"there is no object {self}")
        return _stat_of(info)

    def is_dir(self) -> bool:
        """Return whether objects have this prefix. Raises CompSRTError if the bucket is closed or not reached."""
        return self._info().type.name == "Directory"

    def is_file(self) -> bool:
        """Return whether the object exists. Raises CompSRTError as `is_dir` does."""
        return self._info().is_file

    def below(self, *, deep: bool = False) -> Iterator[BucketPath]:
        """Yield the objects below this prefix, hidden ones too; without `deep`, those of no longer prefix.

        Raises:
            CompSRTError: the bucket is not there, closed, or not reached.
        """
        from pyarrow import fs

        if not BucketPath(self.bucket, query=self.query).is_dir():  # a listing of a prefix would be empty
            raise CompSRTError(f"there is no bucket s3://{self.bucket}", hint=_CAUSES["NO_SUCH_BUCKET"][1])
        with _told(self):
            found = self._system().get_file_info(fs.FileSelector(self._place, allow_not_found=True, recursive=deep))
        for info in found:
            if info.is_file:
                yield replace(self, key=info.path.partition("/")[2], known=_stat_of(info))

    def read_bytes(self) -> bytes:
        """Return the content. Raises CompSRTError if there is no such object, or it cannot be read."""
        with _told(self), self._system().open_input_stream(self._place) as stream:
            return stream.read()

    def write_bytes(self, content: bytes) -> None:
        """Put the object; other readers see the old one or the new one, never a part.

        Raises:
            UnwritableError: the bucket cannot be written.
        """
        try:
            with self._system().open_output_stream(self._place) as stream:
                stream.write(content)
        except OSError as error:
            raise UnwritableError(f"cannot write {self}: {_short(error)}", hint=_cause(error)[1]) from error

    def _info(self) -> Any:
        with _told(self):
            return self._system().get_file_info(self._place)

    def _system(self) -> Any:
        return _opened(self.bucket, self.query)


Place = Path | BucketPath
"""A file or folder, or an object or prefix of a bucket."""


def has_scheme(address: str | os.PathLike[str]) -> bool:
    """Return whether an address begins with a scheme, such as `s3://`."""
    return isinstance(address, str) and _SCHEME.match(address) is not None


def place_of(address: str | os.PathLike[str]) -> Place:
    """Return the path of a file, or the object of a bucket, that an address means.

    Args:
        address: a path, or `s3://BUCKET/KEY`. Keys are written as they are, without percent signs for other characters.
            Options of pyarrow may follow, such as `?endpoint_override=HOST:PORT&scheme=http`.

    Raises:
        CompSRTError: the address has another scheme or no bucket, or pyarrow is not installed.
    """
    if not has_scheme(address):
        return Path(address).expanduser()
    text = os.fspath(address)
    match = _ADDRESS.fullmatch(text)
    if match is None:
        if "@" in text.partition("://")[2].partition("/")[0]:
            raise CompSRTError("an address of a bucket holds credentials", allowed=EXAMPLE, hint=_KEYS)
        raise CompSRTError(f"{text} is no address of a bucket", allowed=f"paths, and {EXAMPLE}")
    path = BucketPath(match["bucket"], (match["key"] or "").strip("/"), match["query"] or "")
    path._system()  # options that pyarrow does not know are told now
    return path


def address_of(place: Place) -> str:
    """Return the address that `place_of` turns into this place again."""
    return str(place) if isinstance(place, Path) else f"{place}{place.query}"


def name_below(place: Place, root: Place) -> PurePath:
    """Return the name of a file or object below a folder or prefix of the same kind; ValueError if it is elsewhere."""
    return place.relative_to(root)  # type: ignore[arg-type]  (both are files, or both are objects)


def write_place(place: Place, content: bytes) -> None:
    """Write a file or an object that can be made again, as a whole or not at all. Raises UnwritableError."""
    if isinstance(place, Path):
        write_whole(place, content, sync=False)
    else:
        place.write_bytes(content)


@lru_cache(maxsize=8)
def _opened(bucket: str, query: str) -> Any:
    """Return pyarrow's file system for a bucket. Its threads and connections serve all objects."""
    try:
        from pyarrow import fs
    except ImportError as error:
        raise CompSRTError("buckets need pyarrow", hint="install it: pip install 'compsrt_plugin[cluster]'") from error
    with _told(BucketPath(bucket)):
        return fs.FileSystem.from_uri(f"s3://{bucket}{query}")[0]


def _stat_of(info: Any) -> BucketStat:
    return BucketStat(info.size, info.mtime_ns // 10**9 * 10**9)


@contextmanager
def _told(place: BucketPath) -> Iterator[None]:
    """Raise pyarrow's errors as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise CompSRTError(f"there is no object {place}") from error
    except (OSError, ValueError) as error:  # ValueError: an option in the address
        raise CompSRTError(f"cannot use {place}: {_short(error)}", hint=_cause(error)[1]) from error


def _short(error: Exception) -> str:
    """Return what an error says to people: its cause, or its own words without the number of the request."""
    return _cause(error)[0] or str(error).partition(" (Request ID")[0]


def _cause(error: Exception) -> tuple[str, str | None]:
    known = (meaning for codes, meaning in _CAUSES.items() if re.search(f"AWS Error [A-Z_]*({codes})", str(error)))
    return next(known, ("", None))
