"""Compare the engine's output with the simulated network's, and that network with itself.

Further runs of the simulated network differ from its first only in the order of additions: a second image in the batch,
another number of threads, tensors at other addresses. At rounding boundaries this changes codes and so the output. The
size of this change is the yardstick for the engine.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from judged_images import made_by, pairs, psnr
from torch import Tensor, nn

from compsrt_plugin.engine import Engine
from compsrt_plugin.packed.open import open_packed

Network = Callable[[Tensor], Tensor]


def compare(files: list[Path], sets: list[str], most: int | None, threads: int) -> None:
    """Print, for each file and data set, the distance of every run from the simulated network's first on one thread.

    Args:
        files: packed files.
        sets: names of test sets.
        most: images of each set.
        threads: of the engine.
    """
    print("against the simulated network on one thread: equal bytes, most grey levels, PSNR difference (mean, largest)")
    for path in files:
        source = open_packed(path)
        torch.set_num_threads(1)
        runs: dict[str, Network] = {
            f"engine, {threads} threads": Engine(source, threads=threads),
            "simulated again": source.network,
            "simulated in a batch of two": lambda x, network=source.network: network(torch.cat([x, x.flip(-1)]))[:1],
            "simulated on two threads": _on_two_threads(source.network),
            "simulated, other addresses": _moved(source.network),
        }
        for name in sets:
            scale = source.header.scale
            found: dict[str, list[tuple[float, int, float]]] = {run: [] for run in runs}
            for lr, hr in pairs(name, scale, most):
                first = made_by(source.network, lr, scale)
                for run, network in runs.items():
                    image = made_by(network, lr, scale)
                    found[run].append((*apart(image, first), psnr(image, hr, scale) - psnr(first, hr, scale)))
            print(f"{path.stem}, {name}, {len(found['simulated again'])} images")
            for run, rows in found.items():
                share, levels, change = zip(*rows)
                print(
                    f"  {run:<28}{statistics.mean(share):>10.4%}{max(levels):>5}"
                    f"{statistics.mean(change):>+10.4f} dB{max(change, key=abs):>+10.4f} dB",
                    flush=True,
                )


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, int]:
    """Return the share of equal values and the largest difference in grey levels of two uint8 images."""
    levels = np.abs(one.astype(int) - other.astype(int))
    return float((levels == 0).mean()), int(levels.max())


def _on_two_threads(network: nn.Module) -> Network:
    def run(x: Tensor) -> Tensor:
        torch.set_num_threads(2)
        try:
            return network(x)
        finally:
            torch.set_num_threads(1)

    return run


def _moved(network: nn.Module) -> Network:
    """Return the network with its input and all tensors shifted by four bytes from torch's alignment."""

    def behind(tensor: Tensor) -> Tensor:
        place = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)[1:].view(tensor.shape)
        return place.copy_(tensor)

    moved = copy.deepcopy(network)
    for tensor in (*moved.parameters(), *moved.buffers()):
        if tensor.dtype == torch.float32:
            tensor.data = behind(tensor.data)
    return lambda x: moved(behind(x))
