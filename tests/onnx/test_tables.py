"""Large constants from small ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compsrt_plugin.onnx.tables import as_hadamard, as_sum
from compsrt_plugin.quant.transforms import TRANSFORMS


def relative_positions(height: int, width: int) -> np.ndarray:
    """Return the table of BasicSR's SwinIR for a window, (tokens, tokens)."""
    y, x = (axis.reshape(-1) for axis in np.mgrid[:height, :width])
    return (y[:, None] - y + height - 1) * (2 * width - 1) + x[:, None] - x + width - 1


@pytest.mark.parametrize("shape", [(64, 64), (-1,), (8, 8, 64)])
def test_relative_positions_in_any_shape_are_a_column_and_a_row(shape):
    table = relative_positions(8, 8).reshape(shape)
    parts = as_sum(table)
    assert parts is not None
    column, row = parts
    assert min(column.min(), row.min()) >= 0 and column.size + row.size == 128
    assert np.array_equal((column + row).reshape(-1), table.reshape(-1))


def test_windows_of_another_size_than_their_neighbours_have_a_table_that_is_not_square():
    table = relative_positions(4, 8)[:, :16].reshape(-1)
    parts = as_sum(table)
    assert parts is not None and np.array_equal((parts[0] + parts[1]).reshape(-1), table)


@pytest.mark.parametrize("table", [np.arange(64).reshape(8, 8) ** 2, np.arange(7), np.arange(9)[:, None]], ids=len)
def test_what_is_no_sum_is_left(table):
    assert as_sum(table) is None


@pytest.mark.parametrize("kind", ["hadamard", "hadamard_signed"])
@pytest.mark.parametrize("columns", [27, 60, 64, 127])
def test_signs_of_a_transform_are_those_of_two_small_matrices_and_a_row(kind, columns):
    matrix = TRANSFORMS[kind].matrix(columns, torch.device("cpu"), torch.float64).T.numpy()
    parts = as_hadamard(matrix < 0)
    assert parts is not None
    outer, inner, row = parts
    assert outer.size + inner.size <= 3 * len(matrix) and len(row) == columns
    assert np.array_equal((outer ^ inner).reshape(len(matrix), -1)[:, :columns] ^ row, matrix < 0)


def test_other_signs_are_no_hadamard_matrix():
    signs = np.random.default_rng(0).random((16, 16)) < 0.5
    assert as_hadamard(signs) is None and as_hadamard(signs[:12]) is None
