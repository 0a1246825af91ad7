"""Tables of scores: each matrix once, whoever adds it."""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.engine.attention import LOG2E
from compsrt_plugin.engine.score_tables import KeptTable, kept_table

QUERIES, KEYS, LANES = 70, 24, 64
Known = dict[tuple[int, int], KeptTable]


def mask(*kinds: int) -> Tensor:
    """Return (windows, 1, queries, keys), windows of one kind being alike."""
    drawn = torch.rand(3, 1, QUERIES, KEYS, generator=torch.Generator().manual_seed(0))
    return drawn[list(kinds)]


def read(table: Tensor, which: Tensor, problem: int) -> Tensor:
    """Return the matrix of a problem, as the operators find it."""
    return table[which[problem]].transpose(-2, -1).reshape(-1, KEYS)[:QUERIES]


def test_every_problem_reads_its_own_matrix() -> None:
    added, leading = mask(0, 1, 0, 2), (4, 3)
    table, which = kept_table({}, (0, 0), added, 0.5, leading, LANES)
    assert which.dtype == torch.int32 and which.shape == (12,)
    for problem in range(12):
        assert torch.allclose(read(table, which, problem), added[problem // 3, 0] * (0.5 * LOG2E))


def test_windows_that_are_alike_have_one_matrix() -> None:
    table, _ = kept_table({}, (0, 0), mask(1, 1, 1, 2), 1.0, (4, 3), LANES)
    assert table.shape == (2, 2, KEYS, LANES)


def test_layers_with_the_same_mask_share_it() -> None:
    one, _ = kept_table({}, (0, 0), mask(0, 1), 1.0, (2, 3), LANES)
    other, _ = kept_table({}, (0, 0), mask(0, 1), 1.0, (2, 3), LANES)
    scaled, _ = kept_table({}, (0, 0), mask(0, 1), 2.0, (2, 3), LANES)
    assert one is other and one is not scaled


def test_a_table_is_made_anew_only_if_its_values_change() -> None:
    known: Known = {}
    added = mask(0, 1)
    before, _ = kept_table(known, (0, 0), added, 1.0, (2, 3), LANES)
    assert kept_table(known, (0, 0), added.clone(), 1.0, (2, 3), LANES)[0] is before
    added[0] += 1
    after, which = kept_table(known, (0, 0), added, 1.0, (2, 3), LANES)
    assert after is not before and torch.allclose(read(after, which, 0), added[0, 0] * LOG2E)
