"""List the jobs: which files to read, and where each result goes."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from compsrt_plugin.buckets import Place, name_below, place_of
from compsrt_plugin.data.formats.kinds import ALLOWED_ENDINGS, ENDINGS, FORMATS, format_of, format_of_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.bucket_images import find_objects
from compsrt_plugin.upscale.patterns import fixed_part, has_magic, matching


@dataclass(frozen=True)
class UpscaleJob:
    """One image: the file or object to read, and the one to write."""

    source: Place
    target: Place


@dataclass(frozen=True)
class UpscaleJobs:
    """The work of one call.

    Attributes:
        jobs: the jobs, sorted by source.
        root: the folder, or the prefix of a bucket, that holds all targets.
        left_alone: number of files in the given folders whose extension is not an image's.
    """

    jobs: list[UpscaleJob]
    root: Place
    left_alone: int


def list_jobs(inputs: Sequence[str], out: str | os.PathLike[str], suffix: str | None = None) -> UpscaleJobs:
    """Find the images and name their results.

    Args:
        inputs: files, folders and shell patterns, or objects and prefixes of buckets, whose address may be a pattern.
            A folder stands for the images directly in it. In a pattern, `**` matches any depth, and the matched
            subfolders are kept below `out`.
        out: a file if it has an image extension and one image is named, else a folder; or the same in a bucket.
        suffix: extension of the results, with its dot. None keeps the extension of each source. A source without an
            image extension then gets the one of its format.

    Raises:
        CompSRTError: nothing is found, a result would replace a source, two results have the same name, or the
            extension of `out` is not a format that can be written.
    """
    means_folder = os.fspath(out).endswith((os.sep, os.altsep or os.sep))
    place = place_of(out)
    one_file = place.suffix.lower() in FORMATS and not means_folder and not _is_folder(place)
    single = len(inputs) == 1 and not _is_folder(place_of(inputs[0]))
    if one_file and not single:
        raise CompSRTError(f"-o {out} is the name of one image", allowed="a folder for these inputs")
    found: dict[Place, PurePath] = {}  # source -> its name below `out`
    left_alone = 0
    for text in inputs:
        sources, base, others = find_images(text, place)
        left_alone += others
        found.update({source: name_below(source, base) for source in sources})
    if one_file and len(found) > 1:
        raise CompSRTError(f"-o {out} is the name of one image, {len(found)} were found", allowed="a folder")
    if not one_file and not means_folder and not _is_folder(place):
        _check_folder_name(place, single=single and len(found) == 1)
    if one_file and suffix is not None and FORMATS[suffix] != FORMATS[place.suffix.lower()]:
        raise CompSRTError(f"-o {out} and --format {suffix[1:]} differ", allowed="one of them")
    jobs = [
        UpscaleJob(source, place if one_file else place / _with_ending(source, name, suffix))
        for source, name in sorted(found.items(), key=lambda item: str(item[0]))
    ]
    _check_targets(jobs)
    return UpscaleJobs(jobs, place.parent if one_file else place, left_alone)


def _check_folder_name(out: Place, *, single: bool) -> None:
    """Refuse a folder name that looks like a file: with any extension for one source, else with a known one."""
    known = mimetypes.guess_type(out.name)[0] is not None
    if out.suffix and (single or known):
        raise CompSRTError(
            f"-o {out}: no {out.suffix} files can be written",
            allowed=f"a folder, or for one image a name ending in {ALLOWED_ENDINGS}",
            hint=f"for a folder of this name give it as {out}{os.sep}",
        )


def _with_ending(source: Place, name: PurePath, suffix: str | None) -> PurePath:
    """Return the name of a result. Its extension determines the format."""
    if suffix is not None:
        return name.with_suffix(suffix)
    if name.suffix.lower() in FORMATS:
        return name
    kind = format_of_file(source) if isinstance(source, Path) else format_of(source.read_bytes())
    return name if kind is None else name.with_name(name.name + ENDINGS[kind])  # None: reading the file reports it


def find_images(text: str, out: Place | None = None) -> tuple[Sequence[Place], Place, int]:
    """Return the images that one input means, the folder that their names are relative to, and the other files' number.

    Args:
        text: a file, a folder, which stands for the images directly in it, or a shell pattern; or an address of a
            bucket that means one of these.
        out: folder of results, which are not among the matches of a pattern.

    Raises:
        CompSRTError: nothing is found.
    """
    try:
        place = place_of(text)
        if not isinstance(place, Path):
            return find_objects(place, out)
        return _expand(text, place, out if isinstance(out, Path) else None)
    except OSError as error:  # the name is too long, or the folder is not accessible
        raise CompSRTError(f"cannot read {text}: {error.strerror or error}", hint="check the path") from error


def _expand(text: str, path: Path, out: Path | None) -> tuple[list[Path], Path, int]:
    if path.is_file():
        return [path], path.parent, 0
    if path.is_dir():
        try:
            files = [entry for entry in path.iterdir() if entry.name[0] != "." and not entry.is_dir()]
        except OSError as error:
            raise CompSRTError(f"cannot read the folder {path}: {error.strerror or error}") from error
        images = _images(files)
        if not images:
            raise CompSRTError(f"no images in {path}", allowed=f"files ending in {ALLOWED_ENDINGS}, directly in it")
        return images, path, len(files) - len(images)
    if path.exists():
        raise CompSRTError(f"{text} is neither a file nor a folder", allowed="image files and folders")
    if path.is_symlink():
        raise CompSRTError(f"{text} is a broken link", hint="check the path")
    if not has_magic(text):
        raise CompSRTError(f"no such file or folder: {text}", hint="check the path")
    base = fixed_part(path)
    matches = _images(match for match in matching(path) if not match.is_dir())
    written = None if out is None else _real(out)
    if written is not None and _real(base) in written.parents:  # results of an earlier run are not sources of this one
        matches = [match for match in matches if written not in _real(match).parents]
    if not matches:
        raise CompSRTError(f"no images match {text!r}", allowed=f"files ending in {ALLOWED_ENDINGS}")
    return matches, base, 0


def _images(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in FORMATS]


def _check_targets(jobs: Sequence[UpscaleJob]) -> None:
    sources = {_identity(job.source): job.source for job in jobs}
    targets: dict[Place, UpscaleJob] = {}
    for job in jobs:
        target = _identity(job.target)
        if target in sources or _same_file(target, job.source):
            raise CompSRTError(
                f"{job.target} would replace {sources.get(target, job.source)}", hint="give another folder with -o"
            )
        if isinstance(target, Path) and os.path.isdir(target):
            raise CompSRTError(f"{job.target} is a folder", hint="move it away, or give another folder with -o")
        earlier = targets.setdefault(target, job)
        if earlier is not job:
            raise CompSRTError(
                f"{earlier.source} and {job.source} would both become {job.target}", hint="enlarge them one by one"
            )


def _is_folder(place: Place) -> bool:
    return os.path.isdir(place) if isinstance(place, Path) else place.is_dir()


def _same_file(first: Place, second: Place) -> bool:
    if not isinstance(first, Path) or not isinstance(second, Path):
        return False
    return os.path.exists(first) and second.exists() and first.samefile(second)


def _identity(place: Place) -> Place:
    return _real(place) if isinstance(place, Path) else place


def _real(path: Path) -> Path:
    """Return the target of links. Unlike `Path.resolve`, this accepts links that form a circle."""
    return Path(os.path.realpath(path))
