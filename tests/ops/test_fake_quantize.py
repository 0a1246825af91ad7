"""The registered operators under tracing, export, compilation and differentiation of a network."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, jacrev, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from compsrt_plugin import native
from compsrt_plugin.ops import fake_quantize as operators
from compsrt_plugin.ops.quantized_product import Operand, quantized_product
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, convert, discover, freeze
from compsrt_plugin.quant.transforms import TRANSFORMS as ALL

X = torch.randn(64, 60, generator=torch.Generator("cpu").manual_seed(0))
TRANSFORMS = ("none", "hadamard", "hadamard_softmax", "hadamard_signed", "hadamard_block", "hadamard_exact")
compiled = pytest.mark.skipif(native.library() is None, reason="no compiler when the package was installed")


@pytest.fixture(params=["kernels", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both with the compiled kernels and without."""
    if request.param == "torch":
        monkeypatch.setattr(native, "usable", lambda *_: False)
    elif native.library() is None:
        pytest.skip("no compiler when the package was installed")
    return request.param


class Residual(nn.Module):
    """Two layers, not linear in their weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Linear(60, 60), nn.Linear(60, 60)

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() + self.second(self.first(x).tanh())


class Attention(nn.Module):
    """Attention in code, between layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.qkv, self.out = nn.Conv2d(3, 24, 1), nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.first(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        return self.out((q @ k.transpose(-2, -1) / 5).softmax(-1) @ v)


def quantized(kind: str = "layers", bits: int = 4, **fields) -> tuple[nn.Module, Tensor]:
    """Return a calibrated network and an input of it."""
    spec = QuantSpec(bits, **fields)
    if kind == "layers":
        network = convert(Residual(), NetworkSpec(spec, spec))
        calibrate(network, [X])
        return network, X
    images = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (8, 16)]
    network = Attention()
    network = convert(network, NetworkSpec(spec, spec, conv_bits=8), discover(network, images))
    calibrate(network, images[:1])
    return network, images[0]


KINDS = pytest.mark.parametrize("kind", ["layers", "attention"])
FROZEN = pytest.mark.parametrize("frozen", [False, True])


def prepared(kind: str, frozen: bool, **fields) -> tuple[nn.Module, Tensor, Tensor]:
    network, x = quantized(kind, **fields)
    network = (freeze(network) if frozen else network).eval()
    return network, x, network(x).detach()


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("per_token", [False, True])
def test_the_operators_keep_what_they_promise_torch(transform: str, per_token: bool):
    x = torch.rand(5, 60, requires_grad=True)
    scale, zero_point = (torch.tensor(value, requires_grad=True) for value in (0.1, -0.3))
    how = (7, transform, transform == "hadamard_softmax", per_token)
    torch.library.opcheck(operators.fake_quantize, (x, scale, zero_point, *how))
    if native.usable(x, ALL[transform]):
        output = operators.fake_quantize(x, scale, zero_point, *how).detach()
        tensors = torch.rand_like(output), x.detach(), scale.detach(), zero_point.detach()
        torch.library.opcheck(operators.fake_quantize_backward, (*tensors, *how, True))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_product_keeps_what_it_promises_torch(transform: str, transposed: bool):
    scale, zero_point = (torch.tensor(value, requires_grad=True) for value in (0.1, -0.3))
    whole = transform == "hadamard_softmax" or not transposed
    left = Operand(torch.rand(2, 5, 60, requires_grad=True), scale, zero_point, 7, transform, whole)
    right = Operand(torch.rand(2, *((9, 60) if transposed else (60, 9)), requires_grad=True))
    if transposed:
        right = right._replace(scale=scale, zero_point=zero_point, top=7, transform=transform, invert=whole)
    torch.library.opcheck(quantized_product, (*left, *right, None, transposed))


@pytest.mark.parametrize("transposed", [False, True])
def test_the_product_takes_a_bias(transposed: bool):
    left = Operand(torch.rand(5, 60), torch.tensor(0.1), torch.tensor(-0.3), 7, "hadamard", True)
    right = Operand(torch.rand(*((9, 60) if transposed else (60, 9)), requires_grad=True))
    torch.library.opcheck(quantized_product, (*left, *right, torch.rand(9, requires_grad=True), transposed))


@compiled
@pytest.mark.parametrize(
    ("which", "dtype"),
    [(i, dtype) for i in range(3) for dtype in (torch.float64, torch.bfloat16)] + [(1, torch.int64), (2, torch.int64)],
    ids=str,
)
def test_the_operator_takes_any_dtype_and_kernels_none_but_theirs(which: int, dtype: torch.dtype):
    arguments = [torch.ones(5, 60), torch.tensor(2.0), torch.tensor(-1.0)]
    wanted = operators.fake_quantize(*arguments, 7, "hadamard", True, False)
    arguments[which] = arguments[which].to(dtype)
    found = operators.fake_quantize(*arguments, 7, "hadamard", True, False)
    assert torch.allclose(found.float(), wanted, atol=0.05)


@KINDS
@FROZEN
@pytest.mark.parametrize("transform", ["hadamard", "hadamard_block"])
def test_an_exported_network_gives_the_same_bits(way: str, kind: str, frozen: bool, transform: str):
    network, x, wanted = prepared(kind, frozen, transform=transform)
    exported = torch.export.export(network, (x,), strict=False)
    assert torch.equal(exported.module()(x), wanted)
    assert torch.equal(network(x), wanted)  # and the network itself is as it was
    if way == "kernels" and transform == "hadamard":
        assert "torch.ops.compsrt." in exported.graph_module.code


def test_an_exported_network_takes_another_batch(way: str):
    network, x, _ = prepared("layers", True)
    exported = torch.export.export(network, (x,), strict=False, dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
    assert torch.equal(exported.module()(x[:7]), network(x[:7]))


@compiled
def test_an_exported_network_has_gradients():
    network, x, _ = prepared("layers", True)
    exported = torch.export.export(network, (x,), strict=False).module()
    gradients = []
    for module in (network, exported):
        given = x.clone().requires_grad_()
        module(given).pow(2).sum().backward()
        gradients.append(given.grad)
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


@FROZEN
def test_a_compiled_network_is_one_graph_with_the_same_bits_and_gradients(way: str, frozen: bool):
    network, x, wanted = prepared("layers", frozen)
    torch._dynamo.reset()
    fast = torch.compile(network, backend="aot_eager", fullgraph=True)
    gradients = []
    for module in (network, fast):
        network.zero_grad()
        output = module(x)
        assert torch.equal(output, wanted)
        output.pow(2).mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@KINDS
@FROZEN
def test_a_traced_network_is_of_torch_alone_and_follows_its_input(way: str, kind: str, frozen: bool):
    network, x, wanted = prepared(kind, frozen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, (x,), check_trace=False)
    assert not any(strange in str(traced.inlined_graph) for strange in ("compsrt::", "PythonOp"))
    # The transform is a matrix product in torch: a value on the edge between two codes may fall to the other side.
    assert ((traced(x) - wanted).abs() > 1e-4).float().mean() < 0.02
    assert ((traced(-x) - network(-x)).abs() > 1e-4).float().mean() < 0.02


@pytest.mark.parametrize(
    "codes, granularity", [("strict", "per_tensor"), ("strict", "per_token"), ("paper", "per_tensor")]
)
def test_a_traced_network_is_saved_and_has_the_gradients(codes: str, granularity: str):
    weight, activation = QuantSpec(4, codes=codes), QuantSpec(4, codes=codes, granularity=granularity)
    network = convert(Residual(), NetworkSpec(weight, activation)).eval()
    calibrate(network, [X])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, (X,), check_trace=False), file := io.BytesIO())
        traced = torch.jit.load(io.BytesIO(file.getvalue()))
    torch.testing.assert_close(traced(X), network(X))
    traced(X).square().mean().backward()
    network(X).square().mean().backward()
    theirs = dict(traced.named_parameters())
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(theirs[name].grad, parameter.grad, msg=lambda told, name=name: f"{name}: {told}")


@KINDS
@FROZEN
def test_an_onnx_file_has_the_input_and_its_values(kind: str, frozen: bool):
    onnxruntime = pytest.importorskip("onnxruntime")
    network, x, wanted = prepared(kind, frozen, bits=8)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), content, dynamo=False)
    session = onnxruntime.InferenceSession(content.getvalue())
    (given,) = session.get_inputs()
    for image, value in ((x, wanted), (-x, network(-x).detach())):
        found = torch.from_numpy(session.run(None, {given.name: image.numpy()})[0])
        assert (found - value).abs().max() < 0.02 * value.abs().max()


@pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_signed", "hadamard_block"])
def test_gradient_penalties_are_those_of_torch_alone(monkeypatch: pytest.MonkeyPatch, granularity: str, transform: str):
    def penalty() -> list[Tensor]:
        spec = QuantSpec(8, transform)
        activation = QuantSpec(8, transform, granularity)
        network = convert(Residual(), NetworkSpec(spec, activation))
        calibrate(network, [X])
        x = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(x).pow(2).sum(), x, create_graph=True)
        gradient.pow(2).mean().backward()
        return [x.grad, *(parameter.grad for parameter in network.parameters())]

    found = penalty()
    monkeypatch.setattr(native, "usable", lambda *_: False)
    for ours, theirs in zip(found, penalty(), strict=True):
        assert (ours - theirs).norm() <= 0.02 * theirs.norm() + 1e-6


def test_functional_gradients_are_those_of_backward(way: str):
    network, x = quantized()
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(network, parameters, (x,)).pow(2).mean()

    samples = vmap(grad(loss), in_dims=(None, 0))(parameters, x[:3, None])
    for index in range(3):
        network.zero_grad()
        network(x[index : index + 1]).pow(2).mean().backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(samples[name][index], parameter.grad, rtol=1e-3, atol=1e-5)
    assert jacrev(network)(x[0]).shape == (60, 60)


@FROZEN
def test_functional_call_uses_the_parameters_that_it_is_given(way: str, frozen: bool):
    network, x, wanted = prepared("layers", frozen)
    others = {name: parameter.detach() * 1.5 for name, parameter in network.named_parameters()}
    found = functional_call(network, others, (x,))
    assert not torch.allclose(found, wanted)
    assert torch.equal(network(x), wanted)
    network.load_state_dict({**network.state_dict(), **others})
    assert torch.equal(network(x), found)


def fake_call(network: nn.Module, x: Tensor, device: str) -> tuple[Tensor, FakeTensorMode]:
    """Run a network on fake tensors of a device; parameters and buffers are fake too."""
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: (value.shape, value.dtype) for name, value in state.items()}
    with FakeTensorMode() as mode, torch.no_grad():
        fakes = {name: torch.empty(shape, dtype=dtype, device=device) for name, (shape, dtype) in shapes.items()}
        return functional_call(network, fakes, (torch.empty(x.shape, device=device),)), mode


@KINDS
@FROZEN
@pytest.mark.parametrize("device", ["cpu", "cuda", "meta"])
@pytest.mark.parametrize("transform", ["none", "hadamard", "hadamard_block", "hadamard_exact"])
def test_on_fake_tensors_every_tensor_is_on_their_device(kind: str, frozen: bool, device: str, transform: str):
    network, x, wanted = prepared(kind, frozen, transform=transform)
    found, _ = fake_call(network, x, device)
    assert found.device.type == device and found.shape == wanted.shape
    assert torch.equal(network(x), wanted)  # nothing fake was kept


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_graph_of_make_fx_gives_the_same_bits(mode: str):
    network, x, wanted = prepared("layers", True)
    network.requires_grad_(False)
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    graph = make_fx(lambda state, x: functional_call(network, state, (x,)), tracing_mode=mode)(state, x)
    assert torch.equal(graph(state, x), wanted) and torch.equal(network(x), wanted)


def test_rows_too_short_for_the_kernels_are_one_operator_while_operators_are_recorded():
    x, transform = torch.linspace(-1, 1, 24).reshape(3, 8), "hadamard_signed"
    with operators.any_width():
        assert operators.fit(x, transform, invert=True)
        assert not operators.fit(x, transform, invert=False)
    assert not operators.fit(x, transform, invert=True)
    how = torch.tensor(0.2), torch.tensor(-1.0), 15, transform, True, False
    assert torch.equal(operators.fake_quantize(x, *how), operators.in_torch(x, *how))
