"""What is to be done: which files are read, and where each result goes."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compsrt_plugin.data.formats.kinds import ALLOWED_ENDINGS, ENDINGS, KINDS, kind_of_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.patterns import fixed_part, has_magic, matching


@dataclass(frozen=True)
class Job:
    """One picture: the file it is read from, and the one its enlargement is written to."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Jobs:
    """All that one call is to do.

    Attributes:
        jobs: in order of their sources.
        root: the folder that holds all targets.
        left_alone: files in given folders that are no pictures by their ending.
    """

    jobs: list[Job]
    root: Path
    left_alone: int


def list_jobs(inputs: Sequence[str], out: str | os.PathLike[str], suffix: str | None = None) -> Jobs:
    """Find the pictures and name their results.

    Args:
        inputs: files; folders, whose pictures are taken, not those of their subfolders; patterns as a shell has
            them, with `**` for any depth, which keep their folders below `out`.
        out: a file if it ends like a picture and one picture was named, else a folder.
        suffix: ending of the results, with its dot; None keeps that of each source, and gives one to a source whose
            ending is none of a picture.

    Raises:
        CompSRTError: nothing found, a result that would replace a source, two results of one name, or an ending of
            `out` in which nothing can be written.
    """
    means_folder = os.fspath(out).endswith((os.sep, os.altsep or os.sep))
    out = Path(out).expanduser()
    one_file = out.suffix.lower() in KINDS and not means_folder and not os.path.isdir(out)
    single = len(inputs) == 1 and not os.path.isdir(Path(inputs[0]).expanduser())
    if one_file and not single:
        raise CompSRTError(f"-o {out} is one picture's name", allowed="a folder, for what was given")
    found: dict[Path, Path] = {}  # source -> its name below `out`
    left_alone = 0
    for text in inputs:
        try:
            sources, base, others = _expand(text, out)
        except OSError as error:  # a name that is too long, a folder that may not be entered
            raise CompSRTError(f"cannot read {text}: {error.strerror or error}", hint="check the path") from error
        left_alone += others
        found.update({source: source.relative_to(base) for source in sources})
    if one_file and len(found) > 1:
        raise CompSRTError(f"-o {out} is one picture's name, {len(found)} were found", allowed="a folder")
    if not one_file and not means_folder and not os.path.isdir(out):
        _check_folder_name(out, single=single and len(found) == 1)
    if one_file and suffix is not None and KINDS[suffix] != KINDS[out.suffix.lower()]:
        raise CompSRTError(f"-o {out} and --format {suffix[1:]} differ", allowed="one of them")
    jobs = [
        Job(source, out if one_file else out / _with_ending(source, name, suffix))
        for source, name in sorted(found.items())
    ]
    _check_targets(jobs)
    return Jobs(jobs, out.parent if one_file else out, left_alone)


def _check_folder_name(out: Path, *, single: bool) -> None:
    """Refuse a folder's name that was meant for a picture's: any ending for one source, else one of a known file."""
    known = mimetypes.guess_type(out.name)[0] is not None
    if out.suffix and (single or known):
        raise CompSRTError(
            f"-o {out}: no {out.suffix} files can be written",
            allowed=f"a folder, or for one picture a name ending in {ALLOWED_ENDINGS}",
            hint=f"for a folder of this name give it as {out}{os.sep}",
        )


def _with_ending(source: Path, name: Path, suffix: str | None) -> Path:
    """Return the name of a result, whose ending says in which format it is written."""
    if suffix is not None:
        return name.with_suffix(suffix)
    if name.suffix.lower() in KINDS:
        return name
    kind = kind_of_file(source)
    return name if kind is None else name.with_name(name.name + ENDINGS[kind])  # None: said when it is read


def _expand(text: str, out: Path) -> tuple[list[Path], Path, int]:
    """Return the sources that one input means, the folder their names start from, how many files were left out."""
    path = Path(text).expanduser()
    if path.is_file():
        return [path], path.parent, 0
    if path.is_dir():
        try:
            files = [entry for entry in path.iterdir() if entry.name[0] != "." and not entry.is_dir()]
        except OSError as error:
            raise CompSRTError(f"cannot read the folder {path}: {error.strerror or error}") from error
        pictures = _pictures(files)
        if not pictures:
            raise CompSRTError(f"no pictures in {path}", allowed=f"files ending in {ALLOWED_ENDINGS}, directly in it")
        return pictures, path, len(files) - len(pictures)
    if path.exists():
        raise CompSRTError(f"{text} is neither a file nor a folder", allowed="picture files and folders of them")
    if path.is_symlink():
        raise CompSRTError(f"{text} is a link that leads nowhere", hint="check the path")
    if not has_magic(text):
        raise CompSRTError(f"no such file or folder: {text}", hint="check the path")
    base = fixed_part(path)
    matches = _pictures(match for match in matching(path) if not match.is_dir())
    written = _real(out)
    if _real(base) in written.parents:  # what an earlier run has written is no source of this one
        matches = [match for match in matches if written not in _real(match).parents]
    if not matches:
        raise CompSRTError(f"no pictures match {text!r}", allowed=f"files ending in {ALLOWED_ENDINGS}")
    return matches, base, 0


def _pictures(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in KINDS]


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {_real(job.source): job.source for job in jobs}
    targets: dict[Path, Job] = {}
    for job in jobs:
        target = _real(job.target)
        if target in sources or (os.path.exists(target) and job.source.exists() and target.samefile(job.source)):
            raise CompSRTError(
                f"{job.target} would replace {sources.get(target, job.source)}", hint="give another folder with -o"
            )
        if os.path.isdir(target):
            raise CompSRTError(f"{job.target} is a folder", hint="move it away, or give another folder with -o")
        earlier = targets.setdefault(target, job)
        if earlier is not job:
            raise CompSRTError(
                f"{earlier.source} and {job.source} would both become {job.target}", hint="enlarge them one by one"
            )


def _real(path: Path) -> Path:
    """Return where links lead, also where they lead round in a circle, which `Path.resolve` refuses."""
    return Path(os.path.realpath(path))
