from __future__ import annotations

import pytest
import torch

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.pruning import InputStatistics, channel, magnitude, n_m, wanda

WEIGHT = torch.randn(60, 64, generator=torch.Generator().manual_seed(0))
EQUAL = torch.ones(6, 8)


def statistics(norms: torch.Tensor) -> InputStatistics:
    return InputStatistics(torch.diag(norms.double() ** 2), 1)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.4, 0.5, 0.999])
def test_magnitude_prunes_exactly_the_ratio_and_keeps_the_largest(ratio: float):
    mask = magnitude("a", WEIGHT, ratio)
    assert int((~mask).sum()) == round(ratio * WEIGHT.numel())
    if ratio > 0:
        assert WEIGHT[mask].abs().min() >= WEIGHT[~mask].abs().max()


@pytest.mark.parametrize("hook", [magnitude, channel])
def test_of_equal_weights_the_last_stay_on_every_run(hook):
    masks = [hook("a", EQUAL, 0.5) for _ in range(3)]
    assert int(masks[0].sum()) == 24
    assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2])


def test_channel_keeps_whole_columns_with_the_largest_mean():
    weight = torch.ones(4, 5) * torch.tensor([3.0, 1.0, 5.0, 2.0, 4.0])
    assert channel("a", weight, 0.4)[0].tolist() == [True, False, True, False, True]
    assert channel("a", weight, 0.4).all(0).sum() == 3
    assert channel("a", weight.T, 0.4, axis="rows")[:, 0].tolist() == [True, False, True, False, True]


def test_channel_refuses_another_axis():
    with pytest.raises(CompSRTError, match="'diagonal'; allowed: columns, rows"):
        channel("a", WEIGHT, 0.5, axis="diagonal")


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (4, 8), (1, 4)])
def test_n_m_keeps_the_n_largest_of_every_m_neighbours(n: int, m: int):
    mask = n_m("a", WEIGHT, 1 - n / m, n, m)
    groups, values = mask.view(60, -1, m), WEIGHT.abs().view(60, -1, m)
    assert (groups.sum(-1) == n).all()
    kept = values.masked_fill(~groups, torch.inf).amin(-1)
    assert (kept >= values.masked_fill(groups, 0).amax(-1)).all()


def test_n_m_keeps_just_n_of_equal_weights():
    assert (n_m("a", EQUAL, 0.5).view(6, 2, 4).sum(-1) == 2).all()


@pytest.mark.parametrize(
    ("ratio", "n", "m", "message"),
    [
        (0.4, 2, 4, "prune.ratio is 0.4 for a, where 2:4 prunes 0.5"),
        (0.5, 4, 4, "n = 4, m = 4; allowed: integers, 0 < n < m"),
        (0.5, 1.0, 2, "n = 1.0"),
        (2 / 3, 1, 3, "groups of m = 3 do not fill the 64 columns of a"),
    ],
)
def test_n_m_refuses_what_contradicts_itself(ratio, n, m, message):
    with pytest.raises(CompSRTError, match=message):
        n_m("a", WEIGHT, ratio, n, m)


def test_wanda_is_magnitude_when_all_inputs_are_equally_strong():
    equal = statistics(torch.ones(64))
    assert torch.equal(wanda("a", WEIGHT, 0.5, equal), magnitude("a", WEIGHT, 0.5))
    rows = torch.stack([magnitude("a", row[None], 0.5)[0] for row in WEIGHT])
    assert torch.equal(wanda("a", WEIGHT, 0.5, equal, per="row"), rows)


@pytest.mark.parametrize("per", ["tensor", "row"])
def test_wanda_keeps_a_small_weight_on_a_strong_input(per: str):
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    strong_first = statistics(torch.tensor([100.0, 1.0, 1.0, 1.0]))
    assert wanda("a", weight, 0.5, strong_first, per).tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("ratio", [0.0, 0.33, 0.4, 0.5])
@pytest.mark.parametrize("per", ["tensor", "row"])
def test_wanda_prunes_exactly_the_ratio_in_total_and_by_row_evenly(ratio: float, per: str):
    mask = wanda("a", WEIGHT, ratio, statistics(torch.rand(64) + 0.1), per)
    assert int((~mask).sum()) == round(ratio * WEIGHT.numel())
    assert per == "tensor" or mask.sum(1).max() - mask.sum(1).min() <= 1


def test_wanda_refuses_another_comparison():
    with pytest.raises(CompSRTError, match="'column'; allowed: row, tensor"):
        wanda("a", WEIGHT, 0.5, statistics(torch.ones(64)), per="column")
