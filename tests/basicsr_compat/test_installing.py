"""BasicSR is built and installed on Pythons where pip alone fails."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from compsrt_plugin.basicsr_compat import installing
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError

# as in BasicSR's setup.py: `exec` in a function, and the name that it defines looked for in `locals()`
READS_ITS_VERSION = """
def get_version():
    exec(compile("__version__ = '1.4.2'", "version.py", "exec"))
    return locals()["__version__"]

print(get_version())
exec("at_module_level = 1")
exec("given = at_module_level + 1", globals())
exec("kept = 1", {}, locals())
print(at_module_level, given, kept)
"""


def pythons() -> list[str]:
    """This Python, and newer ones where there are any."""
    names = [shutil.which(f"python3.{minor}") for minor in range(13, 16)]
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("3.1[3-9]*/bin/python3"))
    return [sys.executable, *filter(None, names), *map(str, pyenv)]


def run_with_repair(python: str, folder: Path) -> list[str]:
    shutil.copy(installing._EXEC, folder / "sitecustomize.py")
    (folder / "setup.py").write_text(READS_ITS_VERSION)
    own = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run([python, folder / "setup.py"], capture_output=True, text=True, check=False, env=own)
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("python", pythons())
def test_a_setup_that_looks_for_executed_names_in_locals_works(python: str, tmp_path: Path) -> None:
    asked = subprocess.run([python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True)
    if asked.returncode:
        pytest.skip(f"{python} does not run")
    assert run_with_repair(python, tmp_path) == ["1.4.2", "1 2 1"]
    if int(asked.stdout) >= 13:  # the fault that is repaired
        bare = subprocess.run([python, "-I", tmp_path / "setup.py"], capture_output=True, text=True, check=False)
        assert "KeyError: '__version__'" in bare.stderr


@pytest.fixture
def index(tmp_path: Path) -> None:
    """Skip where pip reaches no package index."""
    pytest.importorskip("pip")
    asked = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "setuptools", "-d", str(tmp_path / "probe")]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")


def test_the_wheel_is_built_without_torch(tmp_path: Path, index: None) -> None:
    made = installing.build_wheel(tmp_path)
    assert made.name == "basicsr-1.4.2-py3-none-any.whl"
    with zipfile.ZipFile(made) as wheel:
        assert "__version__ = '1.4.2'" in wheel.read("basicsr/version.py").decode()
        assert "basicsr/archs/swinir_arch.py" in wheel.namelist()
    assert not [path for path in (tmp_path / "tools").iterdir() if path.name.startswith("torch")]


def test_another_archive_is_refused(
    tmp_path: Path, index: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installing, "SHA256", "0" * 64)
    with pytest.raises(CompSRTError, match=r"BasicSR 1\.4\.2 was not installed: pip wheel failed"):
        installing.build_wheel(tmp_path)
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in capfd.readouterr().err


def test_what_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "_pip", pytest.fail)
    assert installing.install_basicsr() is False


def test_the_wheel_is_what_pip_installs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(installing, "build_wheel", lambda folder: folder / "basicsr.whl")
    monkeypatch.setattr(installing, "_pip", lambda *arguments: calls.append(arguments))
    assert installing.install_basicsr() is True
    ((command, wheel),) = calls
    assert command == "install" and Path(wheel).name == "basicsr.whl"
    assert not Path(wheel).parent.exists()  # the temporary folder is gone


def test_without_pip_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["doctor", "--install"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "has no pip" in line and "-m ensurepip" in line
