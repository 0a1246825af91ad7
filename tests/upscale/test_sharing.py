"""Images are shared out among processes without gap or overlap, about evenly."""

from __future__ import annotations

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.sharing import ProcessShare


def test_alone_without_torchrun():
    share = ProcessShare.from_environment({})
    assert share.of(["b", "a"], [1, 2]) == ["b", "a"]
    assert share.gathered(7) == [7]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("items", [0, 1, 5, 20])
def test_every_item_is_exactly_one_processs(count: int, items: int):
    names, weights = [f"p{i}" for i in range(items)], [float(i * 37 % 11) for i in range(items)]
    shares = [ProcessShare(rank, count).of(names, weights) for rank in range(count)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert all(share == [name for name in names if name in share] for share in shares)


def test_large_and_small_ones_are_mixed():
    weights = [100.0, 90, 3, 2, 1, 1]
    shares = [ProcessShare(rank, 2).of(weights, weights) for rank in range(2)]
    assert abs(sum(shares[0]) - sum(shares[1])) <= 10


def test_torchruns_variables_are_read():
    environment = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "host"}
    assert ProcessShare.from_environment(environment) == ProcessShare(3, 4, 2, connected=True)
    assert not ProcessShare.from_environment({"RANK": "3", "WORLD_SIZE": "4"}).connected


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("-1", "2"), ("x", "2"), ("", "2"), ("0", "")])
def test_variables_that_make_no_sense_are_named(rank: str, count: str):
    with pytest.raises(CompSRTError, match=f"RANK is '{rank}' and WORLD_SIZE '{count}'"):
        ProcessShare.from_environment({"RANK": rank, "WORLD_SIZE": count})
