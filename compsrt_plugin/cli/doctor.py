"""`basicsr doctor`: what is there, what is repaired, what is missing; one line each."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from compsrt_plugin import pythons
from compsrt_plugin.bundled import MANIFEST
from compsrt_plugin.cli.run_folder import check_writable
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.layout import check_layout
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.data.roots import BENCHMARKS
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import cache_root, folder_bytes
from compsrt_plugin.source_folder import how_to_build

OK, WARN, FAIL = "ok", "warn", "FAIL"  # FAIL: `basicsr test -opt compsrt_x4_3bit.yml` cannot run
DEMO_PICTURES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")  # in scikit-image's wheel
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}

# extra -> the packages that it is known by, and who needs it
EXTRAS = {
    "onnx": (("onnx", "onnxruntime"), "basicsr export --onnx"),
    "plot": (("matplotlib",), "the plots of basicsr analyze"),
    "zoo": (("spandrel", "spandrel_extra_arches"), "network_g.base: {file: …}"),
    "dev": (("pytest", "ruff", "pyright"), "make test, make lint"),
}

EXAMPLES = """\
examples:
  basicsr doctor
  COMPSRT_DATA=datasets basicsr doctor          # which benchmarks are found there
  basicsr doctor --json

exit code: 0 if `basicsr test -opt compsrt_x4_3bit.yml` can run, else 1
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `ok`, `warn` (something is left out), or `FAIL` (the main job cannot run).
        part: what was looked at.
        detail: what was found, and what to do about it.
    """

    status: str
    part: str
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings and return 1 if one of them stops the main job."""
    findings = []
    for finding in examine():
        findings.append(finding)
        if not args.json:
            sys.stdout.write(f"{finding.status:<5}{finding.part:<14}{finding.detail}\n")
            sys.stdout.flush()
    healthy = all(finding.status != FAIL for finding in findings)
    if args.json:
        report = {"ok": healthy, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0 if healthy else 1


def examine() -> Iterator[Finding]:
    """Look at one part after the other."""
    yield _python()
    yield from _packages()
    yield from _compiled_parts()
    yield from _extras()
    yield _cache()
    yield from _option_files()
    yield from _bundled_files(MANIFEST)
    yield _demo_pictures()
    yield _results_folder()
    yield from _benchmarks(os.environ.get("COMPSRT_DATA"))


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if pythons.supported():
        return Finding(OK, "Python", f"{version} at {sys.executable}")
    return Finding(WARN, "Python", f"{version} at {sys.executable}: tested are {pythons.WHICH}")


def _packages() -> Iterator[Finding]:
    """Torch, torchvision and BasicSR, as they are after our repairs; and the devices."""
    try:
        import torch
    except ImportError as error:
        yield Finding(FAIL, "torch", f"cannot be imported ({error}): pip install torch torchvision")
        return
    yield Finding(OK, "torch", torch.__version__)
    from compsrt_plugin import basicsr_compat, register

    try:
        register()
    except (CompSRTError, ImportError) as error:
        yield Finding(FAIL, "BasicSR", str(error))
        return
    import basicsr
    import torchvision
    from basicsr.version import __version__ as basicsr_version

    yield Finding(OK, "torchvision", torchvision.__version__)
    yield Finding(OK, "BasicSR", f"{basicsr_version} at {Path(str(basicsr.__file__)).parent}")
    for repair in basicsr_compat.repairs_in_force():
        yield Finding(OK, "repair", repair)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            yield Finding(OK, "device", f"cuda:{index} {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    yield Finding(OK, "device", f"CPU, {torch.get_num_threads()} threads")


def _compiled_parts() -> Iterator[Finding]:
    """The kernels and the engine: which instructions they use, or what it costs that they are missing."""
    try:
        from compsrt_plugin import native
        from compsrt_plugin.engine import library as engine
    except ImportError:
        return  # torch is missing, which was said
    kernels = native.level()
    if kernels is None:
        yield Finding(WARN, "kernels", f"not built: {native.COST}; {how_to_build()}")
    else:
        yield Finding(OK, "kernels", f"built, {kernels} instructions")
    if engine.library() is None:
        yield Finding(WARN, "engine", f"not built: {engine.COST}; {how_to_build()}")
        return
    try:
        yield Finding(OK, "engine", f"built, {engine.level()} instructions")
    except CompSRTError as error:
        yield Finding(WARN, "engine", str(error))


def _extras() -> Iterator[Finding]:
    """What setup.py lists as extras: whether it is there, and what it is for."""
    for extra, (packages, use) in EXTRAS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            yield Finding(WARN, f"extra {extra}", f"not there, {use} needs it: pip install {' '.join(missing)}")
        else:
            yield Finding(OK, f"extra {extra}", f"{', '.join(packages)}: {use}")


def _cache() -> Finding:
    folder = cache_root()
    size = folder_bytes(folder)
    return Finding(OK, "cache", f"{size / 1e6:.1f} MB in {folder}; it may be deleted at any time")


def _option_files() -> Iterator[Finding]:
    for command in ("test", "train"):
        files, wrong = option_files(command), []
        for path in files.values():
            try:
                check_layout(read_option_file(path), command, path.name)
            except CompSRTError as error:
                wrong.append(str(error))
        for line in wrong:
            yield Finding(FAIL, "option files", line)
        if not files:
            yield Finding(FAIL, "option files", f"none installed for `basicsr {command}`: pip install . again")
        elif not wrong:
            yield Finding(OK, "option files", f"{len(files)} for basicsr {command}")


def _bundled_files(manifest: Path) -> Iterator[Finding]:
    """Compare the files beside a manifest `{name: {sha256, …}}` with it."""
    try:
        wanted = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Finding(FAIL, "bundled", f"{manifest} cannot be read ({error}): pip install . again")
        return
    for name, entry in sorted(wanted.items()):
        path = manifest.parent / name
        if not path.is_file():
            yield Finding(FAIL, "bundled", f"{name} is missing from {manifest.parent}: pip install . again")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            yield Finding(FAIL, "bundled", f"{name} is damaged (another sha256): pip install . again")
        else:
            yield Finding(OK, "bundled", f"{name}, {path.stat().st_size:,d} bytes, sha256 as it should be")


def _demo_pictures() -> Finding:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return Finding(FAIL, "demo", "scikit-image, whose photographs are the demo set, is missing: pip install it")
    missing = [name for name in DEMO_PICTURES if not (Path(spec.origin).parent / "data" / name).is_file()]
    version = importlib.metadata.version("scikit-image")
    if missing:
        return Finding(FAIL, "demo", f"scikit-image {version} has no {', '.join(missing)}: pip install scikit-image")
    return Finding(OK, "demo", f"{len(DEMO_PICTURES)} photographs in scikit-image {version}")


def _results_folder() -> Finding:
    try:
        check_writable(Path.cwd() / "results")
    except CompSRTError as error:
        return Finding(FAIL, "results", str(error))
    return Finding(OK, "results", f"go to {Path.cwd() / 'results'}")


def _benchmarks(root: str | None) -> Iterator[Finding]:
    """Count the pictures of each benchmark below `root`, or say where they belong."""
    for name in BENCHMARKS:
        if root is None:
            yield Finding(WARN, name, f"not looked for: set COMPSRT_DATA to the folder that holds {name}/HR")
            continue
        folder = Path(root).expanduser() / name
        hr = _count(folder / "HR")
        if hr == 0:
            yield Finding(WARN, name, f"not found: its pictures belong in {folder / 'HR'}")
            continue
        lr = {scale: _count(folder / "LR_bicubic" / f"X{scale}") for scale in (2, 3, 4)}
        counts = ", ".join(f"{count or 'no'} LR x{scale}" for scale, count in lr.items())
        detail = f"{hr} HR, {counts} in {folder}"
        if any(count not in (0, hr) for count in lr.values()):
            advice = f"basicsr prepare --hr {folder / 'HR'} --scales 2 3 4 --out {folder}"
            yield Finding(WARN, name, f"{detail}: some are missing, make them with {advice}")
        else:
            yield Finding(OK, name, detail + (" (made when needed)" if 0 in lr.values() else ""))


def _count(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir())
