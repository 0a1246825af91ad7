"""Check the Python version. `python compsrt_plugin/pythons.py` does so before anything is installed.

This file imports nothing of the package and uses syntax of Python 3.6 only, so that it works there too.
"""

import shutil
import sys

OLDEST, NEWEST = 10, 14  # minor versions
REQUIRES = f">=3.{OLDEST},<3.{NEWEST + 1}"
WHICH = f"Python 3.{OLDEST} to 3.{NEWEST}"


def supported() -> bool:
    """Return whether the running Python is supported."""
    return sys.version_info[0] == 3 and OLDEST <= sys.version_info[1] <= NEWEST


def main() -> int:
    """Return 0, or print a line about this Python and the supported ones, and return 1."""
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
