"""All matrices are Hadamard matrices and never change, since packed files depend on them."""

from __future__ import annotations

import hashlib

import pytest
import torch

from compsrt_plugin.quant.transforms.orders import construction, jacobsthal, orders, signs

NOT_BUILT = [116, 156, 172, 188, 232, 236, 260, 268, 292, 324, 356, 372, 376, 404, 412, 428, 436, 452, 472, 476, 508]
DIGEST = "c8323a7f13ca2a88e9f02c97cd84ea5f70e4ff67317b301abf52c76f81472dd6"


def test_the_orders_up_to_512_are_all_multiples_of_four_but_those_listed():
    assert orders(512) == [1, 2, *(order for order in range(4, 513, 4) if order not in NOT_BUILT)]


@pytest.mark.parametrize("order", [12, 20, 24, 28, 36, 40, 44, 48, 52, 56, 60, 72, 92, 96, 100, 120, 144, 180, 192])
def test_rows_are_orthogonal_and_entries_are_signs(order: int):
    matrix = signs(order)
    assert matrix.shape == (order, order) and matrix.dtype == torch.int8
    assert set(matrix.unique().tolist()) == {-1, 1}
    assert torch.equal(matrix.int() @ matrix.int().T, order * torch.eye(order, dtype=torch.int))


def test_all_orders_up_to_256_are_hadamard_matrices_and_never_change():
    digest = hashlib.sha256()
    for order in orders(256):
        matrix = signs(order)
        product = matrix.float() @ matrix.float().T  # whole numbers up to 256: exact
        assert torch.equal(product, order * torch.eye(order)), order
        digest.update(matrix.numpy().tobytes())
    assert digest.hexdigest() == DIGEST


@pytest.mark.parametrize("order", [0, -4, 3, 6, 90, 116])
def test_an_order_that_is_not_built_is_refused(order: int):
    assert construction(order) is None
    with pytest.raises(ValueError, match=f"no Hadamard matrix of order {order} is available"):
        signs(order)


@pytest.mark.parametrize("q", [7, 9, 25, 27, 49])
def test_differences_of_squares_in_fields_of_prime_powers(q: int):
    matrix = jacobsthal(q).int()
    expected = q * torch.eye(q, dtype=torch.int) - torch.ones(q, q, dtype=torch.int)
    assert torch.equal(matrix @ matrix.T, expected)
    assert torch.equal(matrix.T, matrix if q % 4 == 1 else -matrix)
