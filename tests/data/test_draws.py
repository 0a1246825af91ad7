"""Draw k is the same patch whoever draws it, and from wherever drawing begins."""

from __future__ import annotations

import random
from typing import Any

import pytest

from compsrt_plugin.data.draws import DrawnImages, DrawSampler


class Numbers:
    """A data set whose items hold a random number, as random crops do."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, "crop": random.random()}


def drawn(first: int = 0, end: int = 24, rank: int = 0, processes: int = 1, seed: int = 3) -> list[tuple[int, float]]:
    dataset = DrawnImages(Numbers())
    sampler = DrawSampler(len(dataset), seed, first, end, rank, processes)
    found = [dataset[draw] for draw in sampler]
    assert len(found) == len(sampler)
    return [(item["index"], item["crop"]) for item in found]


def test_every_picture_comes_once_before_one_comes_again():
    indices = [index for index, _ in drawn(end=20)]
    turns = [indices[i : i + 5] for i in range(0, 20, 5)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1, "in another order each time"


def test_a_picture_that_comes_again_is_cropped_elsewhere():
    assert len({crop for _, crop in drawn()}) == 24


@pytest.mark.parametrize("first", [1, 5, 12])
def test_a_resumed_run_sees_what_an_undisturbed_one_would(first: int):
    assert drawn(first=first) == drawn()[first:]


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_a_batch_holds_the_same_patches_however_many_processes_share_it(processes: int):
    shares = [drawn(rank=rank, processes=processes) for rank in range(processes)]
    assert [share[turn] for turn in range(24 // processes) for share in shares] == drawn()


def test_the_seed_decides_and_pythons_generator_is_left_alone():
    random.seed(7)
    wanted = random.random()
    random.seed(7)
    assert drawn(seed=4) != drawn(seed=5)
    assert random.random() == wanted
