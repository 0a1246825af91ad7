import pytest
import torch

from compsrt_plugin import native
from compsrt_plugin.quant import TRANSFORMS, Quantizer, QuantSpec
from compsrt_plugin.quant.fake import StrictFakeQuantize

pytestmark = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")

NONE = TRANSFORMS["none"]
PLACES = [  # width, transform, invert
    (10, "none", True),
    (60, "none", True),
    (200, "none", True),
    (10, "hadamard", False),
    (10, "hadamard", True),
    (60, "hadamard", False),
    (64, "hadamard", True),
    (120, "hadamard", False),
    (180, "hadamard", True),
    (60, "hadamard_signed", False),
    (120, "hadamard_signed", True),
    (64, "hadamard_softmax", True),
    (49, "hadamard_softmax", True),
]


@pytest.fixture(params=[level.name for level in native.levels()])
def level(request, monkeypatch):
    monkeypatch.setenv(native.LEVEL_VARIABLE, request.param)
    return request.param


def quantizer_and_rows(width, transform, rows=131, seed=1, granularity="per_tensor"):
    torch.manual_seed(seed)
    quantizer = Quantizer(QuantSpec(bits=3, transform=transform, granularity=granularity))
    x = torch.randn(rows, width).softmax(-1) if transform == "hadamard_softmax" else torch.randn(rows, width)
    if granularity == "per_token":
        x[0] = 0  # a token without magnitude
        spread = torch.tensor(0.5)
    else:
        spread = quantizer.transform(x).std()
    quantizer.set_bounds(-1.5 * spread, 1.7 * spread)
    return quantizer, x


def without_doubt(quantizer, x):
    """Return the rows of x without a value near the edge between two codes: their codes agree in any order of sums."""
    scale, zero_point = (part.detach() for part in quantizer.scale_and_zero_point())
    values = quantizer.transform(x).double()
    if quantizer.per_token:
        values = values / values.abs().amax(-1, keepdim=True).clamp(min=1e-8)
    position = (values - zero_point) / scale
    kept = x[((position - position.floor() - 0.5).abs() > 1e-5).all(-1)]
    assert len(kept) > 0.9 * len(x)
    return kept


def in_torch(quantizer, x, invert):
    scale, zero_point = quantizer.scale_and_zero_point()
    if quantizer.per_token:
        largest = quantizer.transform(x).detach().abs().max(-1, keepdim=True).values.clamp(min=1e-8)
        scale, zero_point = scale * largest, zero_point * largest
    y = StrictFakeQuantize.apply(quantizer.transform(x), scale, zero_point, 7)
    return quantizer.inverse(y, x.shape[-1]) if invert else y


GRANULARITIES = pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])


@GRANULARITIES
@pytest.mark.parametrize(("width", "transform", "invert"), PLACES)
def test_same_values_as_torch(level, width, transform, invert, granularity):
    quantizer, x = quantizer_and_rows(width, transform, granularity=granularity)
    x = without_doubt(quantizer, x)
    scale, zero_point = (part.detach() for part in quantizer.scale_and_zero_point())
    got = native.fake_quantize(x, scale, zero_point, 7, TRANSFORMS[transform], invert, quantizer.per_token)
    wanted = in_torch(quantizer, x, invert).detach()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@GRANULARITIES
@pytest.mark.parametrize(("width", "transform", "invert"), PLACES)
def test_same_gradients_as_torch(level, width, transform, invert, granularity):
    quantizer, x = quantizer_and_rows(width, transform, granularity=granularity)
    x = without_doubt(quantizer, x).requires_grad_()
    wanted = in_torch(quantizer, x, invert)
    grad = torch.randn_like(wanted)
    wanted.backward(grad)
    scale, zero_point = (part.detach() for part in quantizer.scale_and_zero_point())
    grad_x, grad_scale, grad_zero = native.fake_quantize_backward(
        grad, x.detach(), scale, zero_point, 7, TRANSFORMS[transform], invert, quantizer.per_token
    )
    torch.testing.assert_close(grad_x, x.grad, rtol=0, atol=1e-4)
    rounding = 1e-5 * grad.norm().item()
    assert quantizer.alpha.grad.item() == pytest.approx(grad_scale.item(), rel=1e-5, abs=rounding)
    assert quantizer.beta.grad.item() == pytest.approx(grad_zero.item(), rel=1e-5, abs=rounding)


def test_one_scale_for_each_row():
    torch.manual_seed(0)
    x, grad = torch.randn(20, 64), torch.randn(20, 64)
    scale, zero_point = torch.rand(20, 1) + 0.1, torch.randn(20, 1)
    tensors = [part.clone().requires_grad_() for part in (x, scale, zero_point)]
    StrictFakeQuantize.apply(*tensors, 3).backward(grad)
    assert torch.equal(
        native.fake_quantize(x, scale, zero_point, 3, NONE, True), StrictFakeQuantize.apply(x, scale, zero_point, 3)
    )
    for got, wanted in zip(native.fake_quantize_backward(grad, x, scale, zero_point, 3, NONE, True), tensors):
        torch.testing.assert_close(got, wanted.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("transform", "invert", "per_token"),
    [
        ("none", True, False),
        ("hadamard", False, False),
        ("hadamard_signed", True, True),
        ("hadamard_softmax", True, True),
    ],
)
def test_levels_and_threads_agree_to_the_bit(monkeypatch, transform, invert, per_token):
    quantizer, x = quantizer_and_rows(60, transform, rows=3000)
    scale, zero_point = (part.detach() for part in quantizer.scale_and_zero_point())
    before, results = torch.get_num_threads(), []
    how = (scale, zero_point, 7, TRANSFORMS[transform], invert, per_token)
    try:
        for level in native.levels():
            monkeypatch.setenv(native.LEVEL_VARIABLE, level.name)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                y = native.fake_quantize(x, *how)
                results.append((y, *native.fake_quantize_backward(y, x, *how)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_not_a_number_stays_one():
    y = native.fake_quantize(torch.tensor([[float("nan"), 1.0]]), torch.ones(()), torch.zeros(()), 3, NONE, True)
    assert y.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("x", "transform"),
    [
        (torch.zeros(2, 300), "none"),
        (torch.zeros(2, 8), "hadamard"),
        (torch.zeros(0, 60), "hadamard"),
        (torch.zeros(2, 60, dtype=torch.float64), "hadamard"),
        (torch.zeros(2, 60), "hadamard_exact"),
    ],
)
def test_what_the_kernels_leave_to_torch(x, transform):
    assert not native.usable(x, TRANSFORMS[transform])
