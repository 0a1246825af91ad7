"""Repairs that BasicSR 1.4.2 needs on today's torch and torchvision, and the check that `basicsr` is the toolbox.

Each repair acts only where the fault is present. Two of them must run before `import basicsr`, which fails otherwise
(`compsrt_plugin_startup`); the others run after it. `apply()` runs all of them in that order. A second call changes
nothing.
"""

from __future__ import annotations

from compsrt_plugin.basicsr_compat import archs, logs, resume, training
from compsrt_plugin.basicsr_compat.importing import check_basicsr, on_basicsr_import, prepare_import, run_waiting

__all__ = ["add_repairs", "apply", "check_basicsr", "on_basicsr_import", "repairs_in_force"]

_in_force: dict[str, str] = {}  # repair -> one line for `basicsr doctor`


def apply() -> None:
    """Make BasicSR 1.4.2 importable and usable, and import it.

    Raises:
        CompSRTError: the `basicsr` found is not the toolbox, or there is none.
    """
    prepare_import()
    check_basicsr()
    for repairs in (logs, resume, training, archs):
        add_repairs(repairs.apply())
    run_waiting()


def add_repairs(repairs: dict[str, str]) -> None:
    """Record repairs (name -> one line) for `repairs_in_force`."""
    _in_force.update(repairs)


def repairs_in_force() -> list[str]:
    """Return one line for each repair that was necessary in this process."""
    import compsrt_plugin_startup

    return [*compsrt_plugin_startup.in_force.values(), *_in_force.values()]
