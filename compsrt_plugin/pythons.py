"""Which Pythons this package works with. `python compsrt_plugin/pythons.py` says so before anything is installed.

It imports nothing of the package and keeps to what Python 3.6 can read, so that it ends in its one line there too.
"""

import shutil
import sys

OLDEST, NEWEST = 10, 12  # minor versions; BasicSR 1.4.2 cannot be built on 3.13, where exec() no longer sets locals()
REQUIRES = f">=3.{OLDEST},<3.{NEWEST + 1}"
WHICH = f"Python 3.{OLDEST} to 3.{NEWEST}"


def supported() -> bool:
    """Tell whether the Python that runs is one of those."""
    return sys.version_info[0] == 3 and OLDEST <= sys.version_info[1] <= NEWEST


def main() -> int:
    """Return 0, or 1 after one line that names this Python, those that work, and how to choose one."""
    if supported():
        return 0
    names = [f"python3.{minor}" for minor in range(NEWEST, OLDEST - 1, -1)]
    there = [name for name in names if shutil.which(name)]
    advice = f"run: make demo PYTHON={there[0]}" if there else f"install one, then run: make demo PYTHON={names[0]}"
    found = f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}"
    sys.stderr.write(f"compsrt_plugin needs {WHICH}; {found}; {advice}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
