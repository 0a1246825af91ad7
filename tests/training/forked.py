"""Runs of `basicsr train` in processes of their own, forked from one that has imported everything already.

`python -m training.forked FOLDER ALONE.yml … SHARED.yml` runs the last in two processes and the others in one each.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

LOG = "run.log"


def start(options: Path, *flags: str, environment: Mapping[str, str] | None = None) -> int:
    """Fork a run in the current folder, its output going to `run.log`, and return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(environment or {})
        from compsrt_plugin.cli.main import main

        code = main(["train", "-opt", str(options), *flags])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def wait(*children: int) -> int:
    """Wait for runs to end; return the exit code of the last, negative for a signal.

    Raises:
        RuntimeError: one of them failed; the message is the end of the log.
    """
    for child in children:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code > 0:
            raise RuntimeError(Path(LOG).read_text()[-3000:])
    return code


def main(folder: str, *alone: str, shared: str) -> None:
    """Run option files in one process each, then another in two."""
    import torch

    from training import tiny_run  # noqa: F401  (imports all that the runs need)

    torch.set_num_threads(1)  # a fork of a process with threads would not get them
    os.chdir(folder)
    for options in alone:
        wait(start(Path(options)))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    places = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [{**places, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]
    wait(*[start(Path(shared), "--launcher", "pytorch", environment=rank) for rank in ranks])


if __name__ == "__main__":
    main(*sys.argv[1:-1], shared=sys.argv[-1])
