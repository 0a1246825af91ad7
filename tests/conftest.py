"""What all tests need: one thread each where several workers share the machine; a place to run commands in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import compsrt_plugin  # noqa: F401  so that any test may import basicsr first: this repairs what its import needs

if TYPE_CHECKING:
    from places import Place

# Before torch is imported. OpenMP threads that spin while waiting slow two busy workers down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def network_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of `places.network_files`."""
    import places  # not before the variables above are set

    return places.network_files(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def place(
    network_files: dict[str, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """An empty folder to run commands in, with what a `Place` puts there; it is the current one."""
    import logging

    import basicsr.utils.logger
    import places

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("COMPSRT_DATA", raising=False)
    yield places.Place(network_files)
    # BasicSR's handlers write to the standard error of the test in which they were made.
    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    basicsr.utils.logger.initialized_logger.clear()
