"""Measure the peak memory of one way in a separate process, above what it holds before the first call.

`python -m compsrt_plugin.analysis.profile.peak_memory WAY FILE BxHxW THREADS` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compsrt_plugin.errors import CompSRTError

if TYPE_CHECKING:
    from compsrt_plugin.analysis.profile.ways import Way

SECONDS = 600  # time limit of the process
_SHARE = 0.9  # largest share of the free memory that the process may take
KIB = 1024


def peak_bytes(way: str, file: Path, shape: tuple[int, int, int], threads: int) -> int:
    """Return the peak bytes of two calls, including preparations, measured in a separate process.

    Args:
        way: name of the way.
        file: the packed file; for ONNX Runtime and OpenVINO the exported file.
        shape: (b, h, w) of the input.
        threads: number of threads.

    Raises:
        CompSRTError: there is not enough memory, or the process failed.
    """
    module = [sys.executable, "-m", "compsrt_plugin.analysis.profile.peak_memory"]
    command = [*module, way, str(file), "x".join(map(str, shape)), str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CompSRTError(f"not done after {SECONDS} s") from error
    try:
        return int(json.loads(done.stdout.splitlines()[-1])["bytes"])
    except (IndexError, ValueError, KeyError, TypeError) as error:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise CompSRTError(lines[-1]) from error


def measure_peak(way: str, file: Path, shape: tuple[int, int, int], threads: int) -> int:
    """Return the peak bytes of two calls in this process, above what it holds before."""
    import torch

    torch.set_num_threads(threads)
    x = torch.rand(shape[0], 3, *shape[1:], dtype=torch.float32, device="cpu")
    found = _way(way, file)

    def twice() -> None:
        call = found.ready(x, threads)
        call()
        call()

    return most_above(twice)


def most_above(work: Callable[[], object]) -> int:
    """Return the peak bytes of `work` in this process, above what it holds before."""
    _limit_memory()
    _reset_peak()
    before = _status("VmRSS")
    work()
    return max(0, peak() - before)


def peak() -> int:
    """Return the peak bytes of this process, since `most_above` began if the system supports it."""
    return _status("VmHWM")


def _way(name: str, file: Path) -> Way:
    from compsrt_plugin.analysis.profile.runtimes import runtime_way

    if file.suffix == ".onnx":
        return runtime_way(name, file.read_bytes())
    from compsrt_plugin.analysis.profile.ways import EngineWay, TorchWay
    from compsrt_plugin.packed.open import decoded_network, open_packed

    source = open_packed(file)
    if name == "engine":
        return EngineWay(name, name, source)
    return TorchWay(name, name, source.network if name == "simulated" else decoded_network(source))


def _limit_memory() -> None:
    """Limit the memory of this process, so that it fails instead of others."""
    import resource

    import torch

    from compsrt_plugin.inference.memory import free_memory

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = _status("VmSize") + int(_SHARE * free_memory(torch.device("cpu")))
    if soft == resource.RLIM_INFINITY or allowed < soft:
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


def _reset_peak() -> None:
    """Reset the peak of this process (Linux only)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(entry: str) -> int:
    """Return VmSize, VmRSS (now) or VmHWM (peak) in bytes.

    On Linux this does not use `getrusage`, whose maximum starts with that of the parent process.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1]) * KIB
    except OSError:
        pass
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * KIB


def _main(argv: list[str]) -> int:
    """Measure and print the bytes as JSON."""
    way, file, shape, threads = argv
    batch, height, width = (int(side) for side in shape.split("x"))
    found = measure_peak(way, Path(file), (batch, height, width), int(threads))
    sys.stdout.write(json.dumps({"bytes": found}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
