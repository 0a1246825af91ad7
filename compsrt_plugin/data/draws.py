"""Draw training patches by number: draw k is the same patch in every run and every process.

BasicSR shuffles by epoch and crops by the state of Python's generator. A resumed run therefore repeats its epoch with
other crops, and two processes see other patches than one. Here the seed and k determine the image, crop and flips of
draw k. Batch i of size b (over all processes) has the draws i b … (i + 1) b - 1.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset, Sampler

Draw = tuple[int, str]
"""The index of an image, and the seed of its crop and flips."""


class DrawSampler(Sampler):
    """Yields the draws of one process, from any draw on.

    Args:
        images: number of images. All are drawn once, in new order, before one repeats.
        seed: seed of the run.
        first: number of the first draw, over all processes.
        end: number after the last draw.
        rank: number of this process, which gets every `processes`-th draw.
        processes: number of processes.
    """

    def __init__(self, images: int, seed: int, first: int, end: int, rank: int = 0, processes: int = 1) -> None:
        self.images, self.seed = images, seed
        self.numbers = range(first + rank, end, processes)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Draw]:
        order: list[int] = []
        turn = -1
        for number in self.numbers:
            if number // self.images != turn:
                turn = number // self.images
                order = random.Random(f"{self.seed}/turn {turn}").sample(range(self.images), self.images)
            yield order[number % self.images], f"{self.seed}/draw {number}"

    def set_epoch(self, epoch: int) -> None:
        """Do nothing. BasicSR calls this for every epoch, and there is only one."""


class DrawnImages(Dataset):
    """A data set with items by `Draw`, cropped and flipped by the seed of the draw.

    Args:
        dataset: a BasicSR data set, which crops and flips by Python's generator.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        index, seed = draw
        before = random.getstate()
        random.seed(seed)
        try:
            return self.dataset[index]
        finally:
            random.setstate(before)
