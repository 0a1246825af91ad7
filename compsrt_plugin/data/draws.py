"""Training patches as a function of their number: draw k is the same patch in every run and every process.

BasicSR shuffles by epoch and crops by the state of Python's generator, so a resumed run starts its epoch over with
other crops, and two processes see other patches than one. Here the image, crop and flips of draw k follow from
the seed and k alone. Batch i of size b (over all processes) holds the draws i b … (i + 1) b - 1.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset, Sampler

Draw = tuple[int, str]
"""Index of an image, and the seed of its crop and flips."""


class DrawSampler(Sampler):
    """Yields the draws of one process, from any draw on.

    Args:
        images: number of images; all are drawn once, in new order, before one comes again.
        seed: of the run.
        first: number of the first draw, over all processes.
        end: number of the draw before which it ends.
        rank: of this process; it gets every `processes`-th draw.
        processes: how many there are.
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
        """Do nothing: BasicSR announces epochs, of which there is one."""


class DrawnImages(Dataset):
    """A data set that is asked by `Draw`, and crops as the draw's seed says.

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
