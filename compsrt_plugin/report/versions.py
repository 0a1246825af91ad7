"""The versions of the packages that a result depends on."""

from __future__ import annotations

import platform

import compsrt_plugin


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    import torch  # not at the top: a report is read without it
    from basicsr.version import __version__ as basicsr_version

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "basicsr": basicsr_version,
        "compsrt_plugin": compsrt_plugin.__version__,
    }
