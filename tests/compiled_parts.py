"""Hooks for pytest: with COMPSRT_COMPILED=required in the environment, as CI has it, a broken build is not green.

Then the compiled library must load, and a skipped test of it counts as failed, unless the processor lacks the
instructions that the test needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

REQUIRED = os.environ.get("COMPSRT_COMPILED") == "required"
FOLDERS = {"csrc", "engine", "native", "ops"}
OF_PROCESSOR = "this processor has no"


def is_there() -> bool:
    """Return whether the compiled library loads."""
    from compsrt_plugin import native

    return native.library() is not None


def pytest_sessionstart() -> None:
    """Refuse to run without the compiled library where it is required."""
    if REQUIRED and not is_there():
        raise pytest.UsageError("COMPSRT_COMPILED is required, and the compiled library is missing")


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
