"""Run by test_threads.py: an engine with more threads than the system starts."""

from __future__ import annotations

import json
import resource
import sys
import threading
from pathlib import Path
from typing import Any

GIB = 2**30


def limit_threads(to: int) -> None:
    """Leave room for the stacks of so many more threads; each takes a GiB of addresses (see test_threads.py)."""
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # takes the stack that one before it left
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + to * GIB + GIB // 2
    resource.setrlimit(resource.RLIMIT_AS, (room, room))


def main(allowed: int, asked: int) -> dict[str, Any]:
    """Return how many threads the engine has, and whether its pixels are those of one thread."""
    import torch

    from compsrt_plugin import threads
    from compsrt_plugin.engine import Engine
    from tests.engine.networks import network, picture

    torch.set_num_threads(1)
    made, x = network(arch={"depths": [1]}), picture(16, 24)
    wanted = Engine(made, threads=1)(x)
    limit_threads(allowed)
    engine = Engine(made, threads=asked)
    same = all(torch.equal(engine(x), wanted) for _ in range(3))
    with threads.executor(asked) as executor:  # what the engine left of them
        squares = list(executor.map(lambda number: number**2, range(20)))
    return {"threads": engine.threads, "same": same, "squares": squares}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:]))) + "\n")
