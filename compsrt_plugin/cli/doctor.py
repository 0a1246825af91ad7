"""`basicsr doctor`: check the installation and print one line per part; install BasicSR."""

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
from compsrt_plugin.cli.run_folder import check_writable
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import cache_root, folder_bytes
from compsrt_plugin.packed.bundled import MANIFEST
from compsrt_plugin.source_folder import how_to_build

OK, WARN, FAIL = "ok", "warn", "FAIL"  # FAIL: `basicsr test -opt compsrt_x4_3bit.yml` cannot run
DEMO_IMAGES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")  # files in scikit-image's wheel
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}

# extra -> the packages that are looked for, and what needs them
EXTRAS = {
    "cluster": (("ray",), "basicsr upscale --ray"),
    "docs": (("mkdocs", "mkdocstrings"), "make docs"),
    "onnx": (("onnx", "onnxruntime"), "basicsr export --onnx"),
    "plot": (("matplotlib",), "the plots of basicsr analyze"),
    "zoo": (("spandrel_extra_arches",), "network_g.base: {file: …} of SRFormer and a few others"),
    "dev": (("pytest", "ruff", "pyright"), "make test, make lint"),
}

EXAMPLES = """\
examples:
  basicsr doctor
  COMPSRT_DATA=datasets basicsr doctor          # also lists the benchmarks that are found there
  basicsr doctor --install                      # first installs BasicSR where it is missing
  basicsr doctor --json

exit code: 0 if `basicsr test -opt compsrt_x4_3bit.yml` can run, else 1
"""


@dataclass(frozen=True)
class PartCheck:
    """One line of the report.

    Attributes:
        status: `ok`, `warn` (something optional is missing), or `FAIL` (`basicsr test` cannot run).
        part: the part that was checked.
        detail: what was found, and the next step.
    """

    status: str
    part: str
    detail: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--install", action="store_true", help="install BasicSR 1.4.2 first if it is missing (pip alone often cannot)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the findings. Return 1 if one of them has the status `FAIL`.

    Raises:
        CompSRTError: `--install` was given, and BasicSR cannot be installed.
    """
    if args.install:
        from compsrt_plugin.basicsr_compat.installing import install_basicsr

        install_basicsr()
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


def examine() -> Iterator[PartCheck]:
    """Check one part after the other."""
    yield _python()
    yield from _packages()
    yield from _compiled_library()
    yield from _extras()
    yield _cache()
    yield from _option_files()
    yield from _bundled_files(MANIFEST)
    yield _demo_images()
    yield _results_folder()
    yield from _benchmarks(os.environ.get("COMPSRT_DATA"))


def _python() -> PartCheck:
    version = ".".join(map(str, sys.version_info[:3]))
    if pythons.supported():
        return PartCheck(OK, "Python", f"{version} at {sys.executable}")
    return PartCheck(WARN, "Python", f"{version} at {sys.executable}: tested with {pythons.WHICH}")


def _packages() -> Iterator[PartCheck]:
    """Check torch, torchvision, BasicSR with the repairs in force, and the devices."""
    try:
        import torch
    except ImportError as error:
        yield PartCheck(FAIL, "torch", f"cannot be imported ({error}): pip install torch torchvision")
        return
    yield PartCheck(OK, "torch", torch.__version__)
    from compsrt_plugin import basicsr_compat, register

    try:
        register()
    except (CompSRTError, ImportError) as error:
        yield PartCheck(FAIL, "BasicSR", str(error))
        return
    import basicsr
    import torchvision
    from basicsr.version import __version__ as basicsr_version

    yield PartCheck(OK, "torchvision", torchvision.__version__)
    yield PartCheck(OK, "BasicSR", f"{basicsr_version} at {Path(str(basicsr.__file__)).parent}")
    for repair in basicsr_compat.repairs_in_force():
        yield PartCheck(OK, "repair", repair)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            yield PartCheck(OK, "device", f"cuda:{index} {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    yield PartCheck(OK, "device", f"CPU, {torch.get_num_threads()} threads")


def _compiled_library() -> Iterator[PartCheck]:
    """Check the compiled library: the instructions it uses, or the cost of running without it."""
    try:
        from compsrt_plugin import native
    except ImportError:
        return  # torch is missing, which is already reported
    if not native.levels():
        yield PartCheck(WARN, "C++ library", f"not built: {native.COST}; {how_to_build()}")
        return
    try:
        yield PartCheck(OK, "C++ library", f"built, {native.level().name} instructions")
    except CompSRTError as error:
        yield PartCheck(WARN, "C++ library", str(error))


def _extras() -> Iterator[PartCheck]:
    """Check the extras of setup.py."""
    for extra, (packages, use) in EXTRAS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            yield PartCheck(WARN, f"extra {extra}", f"not installed, {use} needs it: pip install {' '.join(missing)}")
        else:
            yield PartCheck(OK, f"extra {extra}", f"{', '.join(packages)}: {use}")


def _cache() -> PartCheck:
    folder = cache_root()
    size = folder_bytes(folder)
    return PartCheck(OK, "cache", f"{size / 1e6:.1f} MB in {folder}; it may be deleted at any time")


def _option_files() -> Iterator[PartCheck]:
    from compsrt_plugin.config.check import check_options  # needs torch

    for command in ("test", "train"):
        files, wrong = option_files(command), []
        for path in files.values():
            try:
                check_options(read_option_file(path), command, path.name)
            except CompSRTError as error:
                wrong.append(str(error))
        for line in wrong:
            yield PartCheck(FAIL, "option files", line)
        if not files:
            yield PartCheck(FAIL, "option files", f"none installed for `basicsr {command}`: pip install . again")
        elif not wrong:
            yield PartCheck(OK, "option files", f"{len(files)} for basicsr {command}")


def _bundled_files(manifest: Path) -> Iterator[PartCheck]:
    """Check the files next to a manifest `{name: {sha256, …}}` against it."""
    try:
        wanted = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield PartCheck(FAIL, "bundled", f"{manifest} cannot be read ({error}): pip install . again")
        return
    for name, entry in sorted(wanted.items()):
        path = manifest.parent / name
        if not path.is_file():
            yield PartCheck(FAIL, "bundled", f"{name} is missing from {manifest.parent}: pip install . again")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            yield PartCheck(FAIL, "bundled", f"{name} is damaged (its sha256 differs): pip install . again")
        else:
            yield PartCheck(OK, "bundled", f"{name}, {path.stat().st_size:,d} bytes, sha256 correct")


def _demo_images() -> PartCheck:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return PartCheck(
            FAIL, "demo", "scikit-image, whose photographs are the demo set, is not installed: pip install scikit-image"
        )
    missing = [name for name in DEMO_IMAGES if not (Path(spec.origin).parent / "data" / name).is_file()]
    version = importlib.metadata.version("scikit-image")
    if missing:
        return PartCheck(FAIL, "demo", f"scikit-image {version} has no {', '.join(missing)}: pip install scikit-image")
    return PartCheck(OK, "demo", f"{len(DEMO_IMAGES)} photographs in scikit-image {version}")


def _results_folder() -> PartCheck:
    try:
        check_writable(Path.cwd() / "results")
    except CompSRTError as error:
        return PartCheck(FAIL, "results", str(error))
    return PartCheck(OK, "results", f"go to {Path.cwd() / 'results'}")


def _benchmarks(root: str | None) -> Iterator[PartCheck]:
    """Count the images of each benchmark below `root`, or report where they belong."""
    from compsrt_plugin.data.roots import BENCHMARKS  # needs NumPy

    for name in BENCHMARKS:
        if root is None:
            yield PartCheck(WARN, name, f"not looked for: set COMPSRT_DATA to the folder that holds {name}/HR")
            continue
        folder = Path(root).expanduser() / name
        hr = _count(folder / "HR")
        if hr == 0:
            yield PartCheck(WARN, name, f"not found: its images belong in {folder / 'HR'}")
            continue
        lr = {scale: _count(folder / "LR_bicubic" / f"X{scale}") for scale in (2, 3, 4)}
        counts = ", ".join(f"{count or 'no'} LR x{scale}" for scale, count in lr.items())
        detail = f"{hr} HR, {counts} in {folder}"
        if any(count not in (0, hr) for count in lr.values()):
            advice = f"basicsr prepare --hr {folder / 'HR'} --scales 2 3 4 --out {folder}"
            yield PartCheck(WARN, name, f"{detail}: some are missing; make them with {advice}")
        else:
            yield PartCheck(OK, name, detail + (" (made when needed)" if 0 in lr.values() else ""))


def _count(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
