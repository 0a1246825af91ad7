"""Threads that the system does not start: the engine computes with those there are, and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compsrt_plugin.engine import engine_available

REPOSITORY = Path(__file__).resolve().parents[2]


def with_large_stacks() -> None:
    """Let the stack of every thread take a GiB of addresses, of which a limit leaves few."""
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (2**30, resource.getrlimit(resource.RLIMIT_STACK)[1]))


@pytest.mark.skipif(not engine_available(), reason="the engine is not compiled here")
@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_an_engine_goes_on_with_the_threads_there_are() -> None:
    allowed, asked = 2, 16
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.few_threads", str(allowed), str(asked)],
        cwd=REPOSITORY,
        env={**os.environ, **one},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=with_large_stacks,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= found["threads"] <= allowed + 2  # the stack of a thread that has ended may be used once more
    assert found["same"]
    assert found["squares"] == [number**2 for number in range(20)]
    assert f"{found['threads']} of {asked} threads compute" in done.stderr
