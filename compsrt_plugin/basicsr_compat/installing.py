"""Install BasicSR 1.4.2 by pip, on every Python, without a second download of torch.

Three things stand in the way of `pip install basicsr`, which is why this package does not name it as a requirement. On
Python 3.13 and newer its `setup.py` fails (`KeyError: '__version__'`). It names torch as a requirement of its build,
although it compiles nothing: pip downloads torch for the build alone, and a pip older than 23.1 leaves that to
setuptools, which fails (`ContextualVersionConflict`). And it needs setuptools, which new environments lack. Here pip
builds it with setuptools from a temporary folder, and with `exec` as it was before Python 3.13.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from compsrt_plugin.errors import CompSRTError

WANTED_VERSION = "1.4.2"
SHA256 = "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87"  # of its source archive on PyPI
COMMAND = "basicsr doctor --install"

_EXEC = Path(__file__).with_name("exec_in_functions.py")  # never imported: it acts when it is


def install_basicsr() -> bool:
    """Install BasicSR 1.4.2 and the packages that it needs into the running Python. pip writes to standard error.

    pip downloads from where it is configured to, and refuses an archive whose SHA-256 is not `SHA256`.

    Returns:
        False if a package named `basicsr` is there already. Whether it is the toolbox is `check_basicsr`'s question.

    Raises:
        CompSRTError: pip is missing or fails.
    """
    if importlib.util.find_spec("basicsr") is not None:
        return False
    with tempfile.TemporaryDirectory(prefix="compsrt_plugin-") as folder:
        _pip("install", str(build_wheel(Path(folder))))
    importlib.invalidate_caches()
    return True


def build_wheel(folder: Path) -> Path:
    """Build the wheel of BasicSR 1.4.2 for this Python, and return its path.

    Args:
        folder: an empty folder, in which everything is written.

    Raises:
        CompSRTError: pip is missing, or it fails: the archive cannot be downloaded or is another one.
    """
    tools, wanted = folder / "tools", folder / "basicsr.txt"
    # Cython is not used, but named as a requirement: without it setuptools would call a pip of its own
    _pip("install", "--target", str(tools), "setuptools", "wheel", "cython")
    (tools / "sitecustomize.py").write_bytes(_EXEC.read_bytes())
    wanted.write_text(f"basicsr=={WANTED_VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    here = ("--no-build-isolation", "--no-deps", "--no-cache-dir", "--no-binary", "basicsr")
    _pip("wheel", *here, "--require-hashes", "-r", str(wanted), "-w", str(folder), PYTHONPATH=str(tools))
    (wheel,) = folder.glob("basicsr-*.whl")
    return wheel


def _pip(command: str, *arguments: str, **variables: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise CompSRTError(f"{sys.executable} has no pip", hint=f"{sys.executable} -m ensurepip, then {COMMAND}")
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", command, *arguments]
    # to standard error: `doctor --json` writes to the other one
    done = subprocess.run(argv, stdout=2, env={**os.environ, **variables}, check=False)
    if done.returncode:
        raise CompSRTError(
            f"BasicSR {WANTED_VERSION} was not installed: pip {command} failed, see its message above",
            hint=f"when that is mended, run {COMMAND} again",
        )
