"""The search of all rows at once returns the bounds that each row gets alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, quantized_layers
from compsrt_plugin.quant.bounds.rows import search_rows
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES, register_bound_search


def alone(row: Tensor, name: str, bits: int) -> tuple[float, float]:
    samples = Samples()
    samples.add(row)
    return BOUND_SEARCHES[name](samples, bits)


def weight(rows: int = 90, cols: int = 64) -> Tensor:
    """Rows of very different sizes, two of them constant, one of two values, one shifted far."""
    torch.manual_seed(0)
    rows_ = torch.randn(rows, cols) * torch.rand(rows, 1)
    rows_[3], rows_[4] = 0.25, 0.0
    rows_[5] = torch.arange(cols) % 2 * 1.0
    rows_[6] = 1000 + torch.rand(cols)
    return rows_


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("name", BOUND_SEARCHES)
def test_rows_are_searched_one_by_one(name: str, bits: int) -> None:
    rows = weight()
    lower, upper = search_rows(rows.clone().requires_grad_(), name, bits)
    assert lower.shape == upper.shape == (90, 1)
    expected = torch.tensor([alone(row, name, bits) for row in rows])
    torch.testing.assert_close(torch.cat([lower, upper], 1), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", BOUND_SEARCHES)
def test_a_row_of_which_few_values_differ_has_the_bounds_that_it_gets_alone(name: str, sign: int) -> None:
    rows = torch.full((2, 400), 0.5)
    rows[0, 7] = 0.5 + sign  # both percentiles are 0.5
    found = torch.cat(search_rows(rows, name, 3), 1)
    torch.testing.assert_close(found, torch.tensor([alone(row, name, 3) for row in rows]), rtol=1e-6, atol=0)
    assert found[0, 1] - found[0, 0] > 0.4


@pytest.mark.parametrize("name", BOUND_SEARCHES)
def test_weights_that_are_masked_do_not_count(name: str) -> None:
    rows, mask = weight(), torch.rand(90, 64) < 0.3
    mask[7] = False
    mask[8] = torch.arange(64) == 9
    rows = torch.where(mask | ~mask.any(1, keepdim=True), rows, 1e6)
    bounds = torch.cat(search_rows(rows, name, 3, mask), 1)
    kept = [row[some] if some.any() else row for row, some in zip(rows, mask)]
    expected = torch.tensor([alone(row, name, 3) for row in kept])
    torch.testing.assert_close(bounds, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", BOUND_SEARCHES)
@pytest.mark.parametrize("shape", [(1, 5000), (3, 1), (0, 4)], ids=str)
def test_any_shape_is_searched(shape: tuple[int, int], name: str) -> None:
    torch.manual_seed(0)
    rows = torch.randn(shape)
    lower, upper = search_rows(rows, name, 3)
    assert lower.shape == upper.shape == (shape[0], 1)
    assert (lower < upper).all()
    for row, low, high in zip(rows, lower, upper):
        assert (low.item(), high.item()) == pytest.approx(alone(row, name, 3), rel=1e-6)


def test_rows_can_be_searched_by_anyones_own_search() -> None:
    @register_bound_search("twice")
    def twice(samples: Samples, bits: int) -> tuple[float, float]:
        return 2 * samples.minimum, 2 * samples.maximum

    mask = torch.tensor([[True, True, True], [True, True, False]])
    try:
        lower, upper = search_rows(torch.tensor([[-1.0, 2.0, 0.0], [-3.0, 5.0, 9.0]]), "twice", 4, mask)
    finally:
        del BOUND_SEARCHES["twice"]
    assert lower.tolist() == [[-2.0], [-6.0]]
    assert upper.tolist() == [[4.0], [10.0]]


def test_an_unknown_search_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(CompSRTError, match="did you mean 'dobi'"):
        search_rows(torch.ones(2, 2), "dobbi", 3)


@pytest.mark.parametrize("name", BOUND_SEARCHES)
def test_rows_that_are_not_finite_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        search_rows(torch.tensor([[1.0, 2.0], [3.0, torch.nan]]), name, 3)


def test_a_layer_whose_weight_is_not_finite_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    spec = QuantSpec(bits=3)
    convert(network, NetworkSpec(weight=spec, activation=spec))
    layers = dict(quantized_layers(network))
    with torch.no_grad():
        assert layers["2"].weight is not None
        layers["2"].weight[0, 0] = torch.nan
    with pytest.raises(CompSRTError, match=r"calibration, 2\.weight.* holds NaN"):
        calibrate(network, [torch.rand(1, 3, 3, 3)])
