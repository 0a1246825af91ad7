"""A source folder that stands before the installed package on the path works as that does."""

from __future__ import annotations

import importlib.machinery
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin import source_folder
from compsrt_plugin.config.files import option_files

ROOT = Path(__file__).resolve().parents[1]
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source folder, as git gives it: nothing in it is compiled."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("compsrt_plugin", "archs", "options"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for module in ROOT.glob("*.py"):
        shutil.copy(module, folder)
    return folder


def run(checkout: Path, *argv: str) -> str:
    """Run Python in the checkout without what an editable installation puts on its `meta_path`."""
    quiet = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
    code = f"{quiet}import runpy\nsys.argv = {list(argv)!r}\nsys.path.insert(0, '')\n"
    code += "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_runs_from_it_with_all_its_option_files_and_classes(checkout: Path) -> None:
    told = run(checkout, "compsrt_plugin", "doctor")
    assert "FAIL" not in told
    assert all(f"{len(option_files(name))} for basicsr {name}" in told for name in ("test", "train"))


def test_a_script_beside_it_finds_its_classes(checkout: Path) -> None:
    (checkout / "own_script.py").write_text(
        "import compsrt_plugin\n"
        "from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR\n"
        "print(CompSRTSwinIR.__module__, compsrt_plugin.__file__)\n"
    )
    assert run(checkout, "own_script").split() == [
        "compsrt_plugin.archs.compsrt_swinir_arch",
        str(checkout / "compsrt_plugin" / "__init__.py"),
    ]


def package(folder: Path, *, part: bool, source: str = "same") -> Path:
    """Write a package of one folder with or without a compiled part."""
    (folder / "native").mkdir(parents=True)
    (folder / "native" / "__init__.py").write_text(source)
    if part:
        (folder / "native" / f"_kernels{SUFFIX}").touch()
    return folder


@pytest.fixture
def two_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A source folder without a compiled part, and an installed package with it."""
    ours, theirs = package(tmp_path / "ours", part=False), package(tmp_path / "theirs", part=True)
    monkeypatch.setattr(source_folder, "PACKAGE", ours)
    monkeypatch.setattr(source_folder, "_installed", lambda: iter([theirs]))
    source_folder.compiled.cache_clear()
    return ours, theirs


@pytest.fixture(autouse=True)
def forget() -> None:
    source_folder.compiled.cache_clear()


def test_a_part_that_is_not_built_here_is_taken_from_the_installed_package(two_packages: tuple[Path, Path]) -> None:
    assert source_folder.compiled("native", "_kernels") == two_packages[1] / "native" / f"_kernels{SUFFIX}"


def test_one_that_is_built_here_comes_first(two_packages: tuple[Path, Path]) -> None:
    own = two_packages[0] / "native" / f"_kernels{SUFFIX}"
    own.touch()
    assert source_folder.compiled("native", "_kernels") == own


@pytest.mark.parametrize("change", ["edited", "another file"])
def test_a_part_of_another_version_is_not_taken(change: str, two_packages: tuple[Path, Path]) -> None:
    name = "__init__.py" if change == "edited" else "layout.py"
    (two_packages[0] / "native" / name).write_text("another")
    assert source_folder.compiled("native", "_kernels") is None
    assert f"cd {two_packages[0].parent}, then" in source_folder.how_to_build()


def test_installed_packages_are_found_by_their_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "compsrt_plugin-0.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: compsrt_plugin\nVersion: 0.1.0\n")
    (tmp_path / "compsrt_plugin").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert tmp_path / "compsrt_plugin" in list(source_folder._installed())
