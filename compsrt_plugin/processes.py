"""Communication between the processes of one run; with a single process, each function does nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def processes() -> tuple[int, int]:
    """Return (rank of this process, number of processes)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor, in place, by its mean over the processes, in one exchange."""
    _, count = processes()
    if count == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= count
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(part.view_as(tensor))


def gather(value: Any) -> list[Any]:
    """Return the values of all processes, in order of rank; plain values only."""
    _, count = processes()
    if count == 1:
        return [value]
    gathered: list[Any] = [None] * count
    distributed.all_gather_object(gathered, value)
    return gathered


def wait_for_all() -> None:
    """Return once every process has called this function."""
    if processes()[1] > 1:
        distributed.barrier()


def take_from_first(tensors: list[Tensor]) -> None:
    """Replace each tensor, in place, by that of the first process."""
    if processes()[1] > 1:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), 0)
