"""What several processes of one run tell each other; with one process, nothing happens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Subset

from compsrt_plugin.report import Results


def processes() -> tuple[int, int]:
    """Return (number of this process, how many there are)."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor, in place, by its mean over the processes; one exchange for all."""
    _, count = processes()
    if count == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= count
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(part.view_as(tensor))


def gather(value: Any) -> list[Any]:
    """Return every process's value, in order of their numbers; plain values only."""
    _, count = processes()
    if count == 1:
        return [value]
    gathered: list[Any] = [None] * count
    distributed.all_gather_object(gathered, value)
    return gathered


def wait_for_all() -> None:
    """Return once every process has come here."""
    if processes()[1] > 1:
        distributed.barrier()


def own_share(loader: DataLoader) -> DataLoader:
    """Return a loader of every n-th picture of a test set, n processes taking turns."""
    rank, count = processes()
    if count == 1:
        return loader
    dataset: Any = loader.dataset
    return DataLoader(Subset(dataset, range(rank, len(dataset), count)), batch_size=1)


def share_scores(results: Results, dataset: str) -> None:
    """Give every process the scores of all, in the order in which one process would have judged them."""
    if processes()[1] == 1:
        return
    own = results.datasets.pop(dataset, None)
    shares = [list(share) for share in gather(list(own.per_image.items()) if own else [])]
    for turn in range(max(map(len, shares))):
        for share in shares:
            for image, scores in share[turn : turn + 1]:
                results.add_image(dataset, image, **scores.by_method())


def take_from_first(tensors: list[Tensor]) -> None:
    """Give each tensor, in place, the values that the first process has in it."""
    if processes()[1] > 1:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), 0)
