"""Freed memory is kept and used again, within bounds, where glibc allows it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from compsrt_plugin import allocator, threads
from compsrt_plugin.cli import main as cli

GLIBC = hasattr(os, "confstr") and "glibc" in (os.confstr("CS_GNU_LIBC_VERSION") or "") if os.name == "posix" else False
glibc_only = pytest.mark.skipif(not GLIBC, reason="another C library")

WORK = """
import ctypes, resource, sys, threading
from pathlib import Path
from compsrt_plugin import allocator

allocator.MOST_KEPT = int(sys.argv[2])
done = sys.argv[1] == "kept" and allocator.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
MIB = 2**20

def work():
    for _ in range(10):  # as a layer's tensors come and go
        blocks = [libc.malloc(size * MIB) for size in (40, 24)]
        for block in blocks:
            ctypes.memset(block, 1, 24 * MIB)
        for block in blocks:
            libc.free(block)

blocks = [libc.malloc(40 * MIB) for _ in range(6)]
for block in blocks:
    ctypes.memset(block, 1, 40 * MIB)
for block in blocks:
    libc.free(block)
held = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // MIB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(int(done), faults, held)
"""


def measured(how: str, most_kept: int = allocator.MOST_KEPT, **environment: str) -> list[int]:
    """Whether it was set, page faults, and the MiB held when 240 were freed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", WORK, how, str(most_kept)]
    done = subprocess.run(command, env={**inherited, **environment}, capture_output=True, text=True, check=True)
    return [int(value) for value in done.stdout.split()]


@glibc_only
def test_memory_is_not_asked_for_again_in_any_thread() -> None:
    _, without, _ = measured("not kept")
    done, faults, held = measured("kept")
    assert done
    assert faults < without / 5
    assert held >= 240


@glibc_only
def test_no_more_is_kept_than_is_said() -> None:
    done, _, held = measured("kept", most_kept=2**24)
    assert done and held < 24 + allocator.STEP / 2**20 + 24


@glibc_only
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_is_left_alone(name: str) -> None:
    assert measured("kept", **{name: "131072" if name.startswith("MALLOC") else "glibc.malloc.top_pad=65536"})[0] == 0


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Musl:
        def mallopt(self, *_: Any) -> int:
            raise AssertionError("called")

    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: Musl())
    assert not allocator.keep_freed_memory()


def test_every_command_sets_up_its_process_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: order.append("allocator"))
    monkeypatch.setattr(threads, "fit_to_system", lambda: order.append("threads"))
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: order.append(name) or sys.exit(3))
    with pytest.raises(SystemExit, match="3"):
        cli.main(["upscale"])
    assert order == ["allocator", "threads", "compsrt_plugin.cli.upscale"]
