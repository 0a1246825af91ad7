"""What all tests need: one thread each where several workers share the machine; a place to run commands in."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compiled_parts import *  # noqa: F403  its hooks

import compsrt_plugin  # noqa: F401  so that any test may import basicsr first: this repairs what its import needs

if TYPE_CHECKING:
    import torch
    from places import Place
    from s3_server import Bucket, Server

# Before torch is imported. OpenMP threads that spin while waiting slow two busy workers down tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes the fixture `device` on each that is at hand."""
    own = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "device" in metafunc.fixturenames and "device" not in own:
        import torch

        found = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        asked = os.environ.get("COMPSRT_TEST_DEVICE")
        metafunc.parametrize("device", [asked] if asked else found, indirect=True)


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """A device at hand: the CPU, a GPU where there is one; the other one where `test_other_device.py` asks for it."""
    import torch

    if request.param != "other":
        yield torch.device(request.param)
        return
    from other.device import on_other_device

    with on_other_device() as found:
        yield found


@pytest.fixture(scope="session")
def network_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of `places.network_files`."""
    import places  # not before the variables above are set

    return places.network_files(tmp_path_factory.mktemp("networks"))


def _forget_logger() -> None:
    from basicsr.utils.logger import initialized_logger  # not before the variables above are set

    logger = logging.getLogger("basicsr")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    initialized_logger.clear()


@pytest.fixture
def fresh_logger() -> Iterator[None]:
    """BasicSR sets its logger up anew: its handlers write to the standard error of the test that made them."""
    _forget_logger()
    yield
    _forget_logger()


@pytest.fixture
def basicsr_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """`caplog` with what BasicSR's logger gets, once each, whatever ran before.

    From its first use on that logger does not propagate, and pytest then listens to it directly too: it has to
    propagate before the test's body begins, and be set up before that, which would turn it off again.
    """
    from basicsr.utils.logger import get_root_logger

    logger = get_root_logger()
    monkeypatch.setattr(logger, "propagate", True)
    return caplog


@pytest.fixture
def place(
    network_files: dict[str, Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    fresh_logger: None,
) -> Place:
    """An empty folder to run commands in, with what a `Place` puts there; it is the current one."""
    import places

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("COMPSRT_DATA", raising=False)
    return places.Place(network_files)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """An S3 server; the tests that need one are skipped where moto is not installed."""
    import s3_server

    with s3_server.serve() as server:
        yield server


@pytest.fixture
def bucket(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which the environment says how to reach."""
    from s3_server import new_bucket

    from compsrt_plugin import buckets

    buckets._opened.cache_clear()  # it keeps the variables of an earlier test
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3_server)
