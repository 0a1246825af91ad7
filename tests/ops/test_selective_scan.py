"""The selective scan against the plain recurrence in double precision, on every way it can be computed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from compsrt_plugin import native
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import scan as kernels
from compsrt_plugin.ops import selective_scan as ops

compiled = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")
SHAPES = pytest.mark.parametrize(
    ("batch", "length", "channels", "states"), [(2, 131, 13, 8), (1, 64, 48, 16), (3, 1, 5, 8), (1, 33, 3, 16)]
)


def inputs(
    batch: int, length: int, channels: int, states: int, dtype: torch.dtype = torch.float32, **like: bool
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    steps, shared = (batch, length, channels), (batch, length, states)
    u, delta, A, B, C, D, bias = (
        torch.randn(shape, generator=generator, dtype=dtype)
        for shape in (steps, steps, (channels, states), shared, shared, (channels,), (channels,))
    )
    return [x.requires_grad_(like.get("requires_grad", False)) for x in (u, delta, -A.abs(), B, C, D, bias - 1)]


def recurrence(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """One step after another, as the equations have it."""
    step = F.softplus(delta + delta_bias)
    h = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    outputs = []
    for t in range(u.shape[1]):
        h = (step[:, t, :, None] * A).exp() * h + (step[:, t] * u[:, t]).unsqueeze(-1) * B[:, t, None]
        outputs.append((h * C[:, t, None]).sum(-1) + D * u[:, t])
    return torch.stack(outputs, 1)


@pytest.fixture(params=[*(level.name for level in native.levels()), "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each level of instructions, and torch."""
    if request.param == "torch":
        monkeypatch.setattr(kernels, "can_scan", lambda *_: False)
    else:
        monkeypatch.setenv(native.LEVEL_VARIABLE, request.param)
    return request.param


@SHAPES
def test_values_and_gradients_are_those_of_the_recurrence(
    way: str, batch: int, length: int, channels: int, states: int
) -> None:
    given = inputs(batch, length, channels, states, requires_grad=True)
    exact = [x.detach().double().requires_grad_() for x in given]
    wanted = recurrence(*exact)
    found = ops.selective_scan(*given)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=2e-5)
    grad = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted.backward(grad)
    found.backward(grad.float())
    for name, ours, theirs in zip(["u", "delta", "A", "B", "C", "D", "bias"], given, exact):
        error = (ours.grad.double() - theirs.grad).norm()
        assert error <= 2e-6 * theirs.grad.norm() + 1e-7, name


@pytest.mark.parametrize("bias", [-120.0, -60.0, -17.0, -1.0, 0.0, 19.0, 25.0, 200.0])
def test_steps_of_any_size_are_exact(way: str, bias: float) -> None:
    u, delta, A, B, C, D, _ = inputs(1, 40, 8, 8)
    given = u, delta, A, B, C, torch.zeros_like(D), torch.full((8,), bias)
    wanted = recurrence(*(x.double() for x in given))
    found = ops.selective_scan(*given).double()
    assert (found - wanted).norm() <= 2e-6 * wanted.norm() + 1e-37


def test_a_value_that_is_no_number_stays_in_its_channel(way: str) -> None:
    u, *others = inputs(1, 12, 10, 8)
    clean = ops.selective_scan(u, *others)
    u[0, 5, 3] = float("nan")
    found = ops.selective_scan(u, *others)
    assert found[0, 5:, 3].isnan().all()
    found[0, 5:, 3] = clean[0, 5:, 3]
    assert torch.equal(found, clean)


@compiled
def test_levels_and_threads_agree_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(2, 500, 44, 8)
    before, results = torch.get_num_threads(), []
    try:
        for level in native.levels():
            monkeypatch.setenv(native.LEVEL_VARIABLE, level.name)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                y = kernels.selective_scan(*given)
                results.append((y, *kernels.selective_scan_backward(y, *given)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


def test_tensors_need_not_be_contiguous(way: str) -> None:
    given = inputs(2, 20, 8, 8)
    strided = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in given]
    assert torch.equal(ops.selective_scan(*strided), ops.selective_scan(*given))


def test_the_operators_keep_what_they_promise_torch(way: str) -> None:
    given = inputs(2, 7, 9, 8, requires_grad=True)
    torch.library.opcheck(ops.scan, given)
    plain = [x.detach() for x in given]
    torch.library.opcheck(ops.scan_backward, (torch.rand_like(plain[0]), *plain))


def test_gradients_are_those_of_finite_differences() -> None:
    given = inputs(2, 6, 3, 2, torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ops.selective_scan, given)
    assert torch.autograd.gradcheck(ops.in_torch, given)


def test_gradients_can_be_differentiated_again() -> None:
    assert torch.autograd.gradgradcheck(ops.selective_scan, inputs(1, 4, 2, 2, torch.float64, requires_grad=True))


@compiled
def test_gradients_of_the_kernels_can_be_differentiated_again() -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        given = [x.detach().to(dtype).requires_grad_() for x in inputs(1, 20, 8, 8)]
        (grad,) = torch.autograd.grad(ops.selective_scan(*given).square().sum(), given[:1], create_graph=True)
        grad.square().sum().backward()
        found.append([x.grad.double() for x in given])
    for ours, wanted in zip(*found):
        assert (ours - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_do_not_show(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(2, 50, 4, 3, torch.float64)
    monkeypatch.setattr(ops, "_CHUNK", chunk)
    torch.testing.assert_close(ops.in_torch(*given), recurrence(*given), rtol=1e-12, atol=1e-12)


def test_an_empty_batch_has_an_empty_result(way: str) -> None:
    for shape in ((0, 5, 8, 8), (1, 0, 8, 8)):
        assert ops.selective_scan(*inputs(*shape)).shape == shape[:3]


@compiled
@pytest.mark.parametrize("which", range(7))
def test_the_kernels_refuse_what_they_cannot_read_and_the_operator_takes_it(which: int) -> None:
    given = inputs(1, 5, 8, 8)
    wanted = ops.selective_scan(*given)
    given[which] = given[which].double()
    torch.testing.assert_close(ops.selective_scan(*given).float(), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(CompSRTError, match=r"torch\.float32, contiguous, on cpu"):
        kernels.selective_scan(given[0].float() if which else given[0], *given[1:])


@pytest.mark.parametrize(
    ("which", "shape", "said"),
    [
        (1, (1, 5, 7), r"delta is \(1, 5, 7\); allowed: \(1, 5, 8\)"),
        (2, (7, 8), r"A is \(7, 8\)"),
        (3, (1, 5, 9), r"B is \(1, 5, 9\)"),
        (4, (2, 5, 8), r"C is \(2, 5, 8\)"),
        (5, (1,), r"D is \(1,\)"),
        (6, (8, 1), r"delta_bias is \(8, 1\)"),
        (0, (5, 8), r"u is \(5, 8\)"),
    ],
)
def test_shapes_that_do_not_fit_are_told(which: int, shape: tuple[int, ...], said: str) -> None:
    given = inputs(1, 5, 8, 8)
    given[which] = torch.zeros(shape)
    with pytest.raises(CompSRTError, match=said):
        ops.selective_scan(*given)


class _OnGpu(torch.Tensor):
    is_cuda = True


def test_a_gpu_takes_mamba_ssms_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(u, delta, A, B, C, D, z=None, delta_bias=None, delta_softplus=False):
        """mamba_ssm's arguments: channels before steps."""
        assert z is None and delta_softplus
        u, delta, B, C = (x.transpose(1, 2) for x in (u, delta, B, C))
        return recurrence(u, delta, A, B, C, D, delta_bias).transpose(1, 2) + 1  # told apart by the 1

    given = inputs(2, 6, 5, 8)
    on_gpu = [given[0].as_subclass(_OnGpu), *given[1:]]
    monkeypatch.setattr(ops, "_of_mamba_ssm", lambda: theirs)
    torch.testing.assert_close(
        ops.selective_scan(*on_gpu).as_subclass(Tensor), recurrence(*given) + 1, rtol=1e-5, atol=1e-5
    )
    monkeypatch.setattr(ops, "_of_mamba_ssm", lambda: None)
    torch.testing.assert_close(
        ops.selective_scan(*on_gpu).as_subclass(Tensor), recurrence(*given), rtol=1e-5, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_graph_is_of_torch_alone() -> None:
    given = inputs(1, 9, 8, 8)
    traced = torch.jit.trace(lambda *x: ops.selective_scan(*x), given, check_trace=False)
    assert not any(strange in str(traced.inlined_graph) for strange in ("compsrt::", "PythonOp"))
    torch.testing.assert_close(traced(*given), recurrence(*given), rtol=1e-5, atol=1e-5)
