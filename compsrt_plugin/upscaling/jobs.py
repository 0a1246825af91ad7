"""What is to be done: which files are read, and where each result goes."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscaling.reading import SUFFIXES


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


def list_jobs(inputs: Sequence[str], out: Path, suffix: str | None = None) -> Jobs:
    """Find the pictures and name their results.

    Args:
        inputs: files; folders, whose pictures are taken, not those of their subfolders; patterns as a shell has
            them, with `**` for any depth, which keep their folders below `out`.
        out: a file if it ends like a picture and one picture was named, else a folder.
        suffix: ending of the results, with its dot; None keeps that of each source.

    Raises:
        CompSRTError: nothing found, a result that would replace a source, or two results of one name.
    """
    one_file = out.suffix.lower() in SUFFIXES and not out.is_dir()
    if one_file and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise CompSRTError(f"-o {out} is one picture's name", allowed="a folder, for what was given")
    found: dict[Path, Path] = {}  # source -> its name below `out`
    left_alone = 0
    for text in inputs:
        sources, base, others = _expand(text, out)
        left_alone += others
        found.update({source: source.relative_to(base) for source in sources})
    if one_file and len(found) > 1:
        raise CompSRTError(f"-o {out} is one picture's name, {len(found)} were found", allowed="a folder")
    if one_file and suffix is not None and suffix != out.suffix.lower():
        raise CompSRTError(f"-o {out} and --format {suffix[1:]} differ", allowed="one of them")
    jobs = [
        Job(source, out if one_file else out / (name if suffix is None else name.with_suffix(suffix)))
        for source, name in sorted(found.items())
    ]
    _check_targets(jobs)
    return Jobs(jobs, out.parent if one_file else out, left_alone)


def _expand(text: str, out: Path) -> tuple[list[Path], Path, int]:
    """Return the sources that one input means, the folder their names start from, how many files were left out."""
    path = Path(text).expanduser()
    if path.is_file():
        return [path], path.parent, 0
    if path.is_dir():
        try:
            files = [entry for entry in path.iterdir() if entry.name[0] != "." and entry.is_file()]
        except OSError as error:
            raise CompSRTError(f"cannot read the folder {path}: {error.strerror or error}") from error
        pictures = _pictures(files)
        if not pictures:
            raise CompSRTError(
                f"no pictures in {path}", allowed=f"files ending in {' '.join(SUFFIXES)}, directly in it"
            )
        return pictures, path, len(files) - len(pictures)
    if not glob.has_magic(text):
        raise CompSRTError(f"no such file or folder: {text}", hint="check the path")
    parts = path.parts
    base = Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    matches = _pictures(match for match in map(Path, glob.glob(str(path), recursive=True)) if match.is_file())
    written = out.resolve()
    if base.resolve() in written.parents:  # what an earlier run has written is no source of this one
        matches = [match for match in matches if written not in match.resolve().parents]
    if not matches:
        raise CompSRTError(f"no pictures match {text!r}", allowed=f"files ending in {' '.join(SUFFIXES)}")
    return matches, base, 0


def _pictures(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() in SUFFIXES]


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {job.source.resolve(): job.source for job in jobs}
    targets: dict[Path, Job] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in sources or (target.exists() and target.samefile(job.source)):
            raise CompSRTError(
                f"{job.target} would replace {sources.get(target, job.source)}", hint="give another folder with -o"
            )
        if target.is_dir():
            raise CompSRTError(f"{job.target} is a folder", hint="move it away, or give another folder with -o")
        earlier = targets.setdefault(target, job)
        if earlier is not job:
            raise CompSRTError(
                f"{earlier.source} and {job.source} would both become {job.target}", hint="enlarge them one by one"
            )
