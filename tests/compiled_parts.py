"""Hooks for pytest: with COMPSRT_COMPILED=required in the environment, as CI has it, a broken build is not green.

Then both compiled parts must be there, and a test of theirs that is skipped has failed, unless the processor lacks the
instructions that it is about.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

REQUIRED = os.environ.get("COMPSRT_COMPILED") == "required"
FOLDERS = {"engine", "native"}
OF_PROCESSOR = "this processor has no"


def missing() -> list[str]:
    """Return the names of the compiled parts that cannot be loaded."""
    from compsrt_plugin import native
    from compsrt_plugin.engine import engine_available

    return [name for name, there in (("engine", engine_available()), ("kernels", native.library())) if not there]


def pytest_sessionstart() -> None:
    """Refuse to run without the compiled parts where they are required."""
    if REQUIRED and (names := missing()):
        raise pytest.UsageError(f"COMPSRT_COMPILED is required, and these parts are not compiled: {', '.join(names)}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let a skipped test of a compiled part fail where they are required."""
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail") and FOLDERS & set(item.path.parts[:-1]):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if OF_PROCESSOR not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped where compiled parts are required: {reason}"
