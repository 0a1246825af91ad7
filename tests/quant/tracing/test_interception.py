from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant import (
    Mode,
    NetworkSpec,
    QuantConv2d,
    QuantPointwise,
    QuantSpec,
    calibrate,
    convert,
    discover,
    distinct_codes,
    freeze,
    named_quantizers,
    set_mode,
)
from compsrt_plugin.quant.tracing.interception import quantizers_of


class Attention(nn.Module):
    """Self-attention over windows of 16 tokens, its products written as `form` says."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.qkv, self.proj = nn.Linear(12, 36), nn.Linear(12, 12)
        self.softmax = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.form == "sdpa":
            return self.proj(F.scaled_dot_product_attention(q, k, v))
        if self.form == "einsum":
            attention = self.softmax(torch.einsum("b i d, b j d -> b i j", q, k) * 12**-0.5)
            return self.proj(torch.einsum("bij,bjd->bid", attention, v))
        if self.form == "bmm":
            return self.proj(torch.bmm(F.softmax(torch.bmm(q * 12**-0.5, k.mT), -1), v))
        if self.form == "reversed":  # v^T map^T, as code does that keeps channels first
            attention = (q * 12**-0.5 @ k.mT).softmax(-1)
            return self.proj((v.mT @ attention.mT).mT)
        return self.proj(torch.softmax(torch.matmul(q * 12**-0.5, k.transpose(1, 2)), -1) @ v)


class Network(nn.Module):
    """Windows of 4 x 4 pixels, attention within each."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.first, self.attn, self.last = nn.Conv2d(3, 12, 3, padding=1), Attention(form), nn.Conv2d(12, 3, 1)
        self.table = nn.Parameter(torch.rand(12, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        b, c, h, w = x.shape
        windows = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        windows = (windows + self.attn(windows)) @ self.table
        windows = windows.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
        return self.last(windows.reshape(b, c, h, w))


FORMS = ["matmul", "bmm", "einsum", "sdpa", "reversed"]
IMAGES = [torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (16, 24)]
SOFTMAX = {"*.map": {"transform": "hadamard_softmax"}}


def network(form: str) -> nn.Module:
    torch.manual_seed(0)
    return Network(form).eval()


GRANULARITIES = pytest.mark.parametrize("granularity", ["per_tensor", "per_token"])


def quantized(form: str, granularity: str = "per_tensor", **overrides) -> nn.Module:
    plain = network(form)
    activation = QuantSpec(4, granularity=granularity)
    spec = NetworkSpec(QuantSpec(4), activation, overrides={**SOFTMAX, **overrides})
    return convert(plain, spec, discover(plain, IMAGES))


@pytest.mark.parametrize("form", FORMS)
def test_however_attention_is_written_its_four_operands_are_found_by_name(form: str):
    found = {name: quantizer.spec.transform for name, quantizer in named_quantizers(quantized(form))}
    attention = {name: transform for name, transform in found.items() if name.count(".") == 1}
    assert {name for name in attention if name.startswith("attn.")} == {"attn.q", "attn.k", "attn.map", "attn.v"}
    assert attention["attn.map"] == "hadamard_softmax"
    assert attention["attn.q"] == attention["attn.k"] == attention["attn.v"] == "hadamard"


@pytest.mark.parametrize("form", FORMS)
def test_with_quantizers_off_nothing_changes_by_a_bit(form: str):
    with torch.no_grad():
        assert torch.equal(quantized(form)(IMAGES[0]), network(form)(IMAGES[0]))


@GRANULARITIES
def test_all_ways_to_write_attention_give_the_same_quantized_result(granularity: str):
    results = []
    for form in FORMS:
        student = quantized(form, granularity)
        calibrate(student, IMAGES)
        with torch.no_grad():
            results.append(student(IMAGES[0]))
    for other in results[1:]:
        # codes on an edge may fall either way where sums are ordered differently
        assert float((other - results[0]).abs().mean()) < 0.01 * float(results[0].std())


def test_operands_summed_over_their_tokens_have_one_scale():
    found = {name: quantizer.spec.granularity for name, quantizer in named_quantizers(quantized("matmul", "per_token"))}
    of_operands = [found[f"attn.{name}"] for name in ("q", "k", "map", "v")]
    assert of_operands == ["per_token", "per_token", "per_token", "per_tensor"]


@GRANULARITIES
@pytest.mark.parametrize("form", FORMS)
def test_codes_keep_to_their_bits_and_freezing_changes_no_bit(form: str, granularity: str):
    student = quantized(form, granularity)
    calibrate(student, IMAGES)
    counts = distinct_codes(student, IMAGES)
    widths = {name: quantizer.spec.bits for name, quantizer in named_quantizers(student)}
    assert counts.keys() == widths.keys()
    assert all(1 < counts[name] <= 2 ** widths[name] for name in counts)
    with torch.no_grad():
        before = student(IMAGES[0])
        assert not torch.equal(before, network(form)(IMAGES[0]))
        assert torch.equal(freeze(student)(IMAGES[0]), before)


@pytest.mark.parametrize("form", FORMS)
def test_every_operand_can_be_kept(form: str):
    kept = quantized(form, **{"attn.v": {"keep": True}, "attn.q": {"bits": 8}})
    found = {name: quantizer.spec.bits for name, quantizer in named_quantizers(kept)}
    assert "attn.v" not in found and found["attn.q"] == 8
    calibrate(kept, IMAGES)
    assert kept(IMAGES[0]).shape == (1, 3, 16, 16)


def test_the_quantizers_get_gradients():
    student = quantized("sdpa")
    calibrate(student, IMAGES)
    student(IMAGES[0]).square().sum().backward()
    for name, quantizer in named_quantizers(student):
        assert quantizer.lower.grad is not None and quantizer.lower.grad.isfinite().all(), name


def test_a_product_with_a_learned_matrix_is_left_and_told():
    found = discover(network("matmul"), IMAGES)
    assert found.left_alone == ["Network: a product with a learned matrix"]
    assert [len(site.operands) for site in found.sites[""]] == [0]


def test_a_converted_network_can_be_copied_and_saved():
    student = quantized("matmul")
    twin = copy.deepcopy(student)
    calibrate(student, IMAGES)
    assert all(quantizer.mode is Mode.OFF for _, quantizer in named_quantizers(twin))
    twin.load_state_dict(student.state_dict())
    set_mode(twin, Mode.ON)
    with torch.no_grad():
        assert torch.equal(twin(IMAGES[0]), student(IMAGES[0]))


class Channels(nn.Module):
    """Attention between channels: it sums over all pixels, however many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Conv2d(8, 24, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        return ((q @ k.mT).softmax(-1) @ v).view_as(x)


def test_an_axis_that_grows_with_the_image_is_not_transformed():
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), Channels())
    found = discover(plain, IMAGES)
    q, k = found.sites["1"][0].operands
    assert (q.axis, q.contracted, k.axis, k.contracted) == (-2, False, -1, False)  # the channels, not the pixels
    student = convert(plain, NetworkSpec(), found)
    assert isinstance(student.get_submodule("1.qkv"), QuantPointwise)
    calibrate(student, IMAGES)
    assert student(torch.rand(1, 3, 37, 21)).shape == (1, 8, 35, 19)


class NormalizedChannels(Channels):
    """Attention between channels as in DAT and CRAFT: values of q and k shrink as the image grows."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        return ((8 * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1) @ v).view_as(x)


def test_sums_over_the_image_keep_their_error_on_larger_images():
    """Calibrated on 14x14 pixels; the same picture 64 times."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 1), NormalizedChannels())
    picture = torch.rand(1, 3, 14, 14)
    errors: dict[tuple[str, int], float] = {}
    for granularity in ("per_token", "per_tensor"):
        spec = NetworkSpec(activation=QuantSpec(granularity="per_token"), conv_bits=None, image_sums=granularity)
        student = convert(copy.deepcopy(plain), spec, discover(plain, IMAGES))
        quantizers = dict(named_quantizers(student))
        assert {quantizers[f"1.{name}"].spec.granularity for name in "qk"} == {granularity}
        calibrate(student, [picture])
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.ON if name in ("1.q", "1.k") else Mode.OFF
        for times in (1, 8):
            x = picture.repeat(1, 1, times, times)
            with torch.no_grad():
                errors[granularity, times] = float((student(x) - plain(x)).square().mean())
    assert errors["per_token", 8] < 1.1 * errors["per_token", 1]
    assert errors["per_tensor", 8] > 50 * errors["per_tensor", 1]


def test_a_spec_of_before_has_bounds_for_one_size_of_image():
    written = NetworkSpec(activation=QuantSpec(granularity="per_token")).to_dict()
    assert NetworkSpec.from_dict(written).image_sums == "per_token"
    del written["image_sums"]
    assert NetworkSpec.from_dict(written).image_sums == "per_tensor"
    with pytest.raises(CompSRTError, match="image_sums"):
        NetworkSpec(image_sums="per_channel")


def test_values_of_attention_have_no_token_scale_however_many_keys():
    attention = discover(nn.Sequential(nn.Conv2d(3, 8, 3), Pixels()), IMAGES).sites["1"]
    assert [operand.over_image for site in attention for operand in site.operands] == [False] * 4


class Pixels(Channels):
    """Attention between all pixels of the image."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).flatten(2).mT.chunk(3, 2)
        return ((q @ k.mT).softmax(-1) @ v).mT.reshape(x.shape)


class Twice(nn.Module):
    """Two attentions and a product of another kind in one module, which runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            y = layer(x)
            x = (y @ y.mT).softmax(-1) @ y
        return torch.sigmoid(self.a(x) @ self.b(x).mT) @ x


def test_more_than_one_attention_in_a_module_is_numbered():
    block = Twice()
    plain = nn.Sequential(block, block)
    shapes = [torch.rand(1, 6, 8), torch.rand(1, 6, 8)]
    student = convert(plain, NetworkSpec(), discover(plain, shapes))
    names = {name for name, _ in named_quantizers(student) if name.count(".") < 3 and ".a." not in name}
    assert {"0.q", "0.map", "0.attention1.q", "0.attention1.map", "0.left", "0.right", "0.product1.left"} <= names
    calibrate(student, shapes)
    sites = student[0].sites
    assert [len(quantizers_of(student[0], site)) for site in sites] == [2] * 6


class Kept(nn.Module):
    """What is kept by default: channel attention, depth-wise convolution, a bias made by a small network."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.squeeze, self.bias = nn.Conv2d(16, 16, 1), nn.Linear(16, 16)
        self.last, self.unused = nn.Conv2d(16, 16, 1), nn.Linear(4, 4)
        self.register_buffer("places", torch.rand(1, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.first(x))
        x = x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.last(x + self.bias(self.places).view(1, 16, 1, 1))


def test_small_and_constant_layers_are_kept_by_default_and_quantized_on_demand():
    plain = Kept()
    found = discover(plain, IMAGES)
    assert {name: why.split(",")[0].split(":")[0] for name, why in found.keep.items()} == {
        "depthwise": "depth-wise convolution",
        "squeeze": "one vector per image (channel attention)",
        "bias": "its input is the same for every image",
        "unused": "not called",
    }
    student = convert(plain, NetworkSpec(overrides={"squeeze": {"bits": 8}}), found)
    assert isinstance(student.get_submodule("first"), QuantConv2d)  # it reads the image: its weights only
    assert isinstance(student.get_submodule("last"), QuantPointwise)
    assert isinstance(student.get_submodule("squeeze"), QuantPointwise)
    assert type(student.get_submodule("depthwise")) is nn.Conv2d


def test_code_that_depends_on_the_size_of_the_image_is_refused_in_one_line():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.layer(x.flatten(2).mT)
            for _ in range(x.shape[1] // 256):
                x = x + (x @ x.mT).softmax(-1) @ x
            return x

    with pytest.raises(CompSRTError, match="2 products for one image size and 4 for another"):
        discover(Loop(), IMAGES)


def test_images_that_are_no_tensors_are_refused_in_one_line():
    plain = Attention("matmul")
    with pytest.raises(CompSRTError, match="an image has the type list; allowed: tensors"):
        discover(plain, [[image] for image in IMAGES])


def test_inner_modules_keep_their_products_to_themselves():
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.kept = Attention("matmul"), nn.Linear(12, 12)

        def forward(self, x: Tensor) -> Tensor:
            before = self.kept(x)
            return (before @ self.inner(x).mT).softmax(-1) @ before

    plain = Outer()
    inputs = [torch.rand(2, 16, 12), torch.rand(2, 16, 12)]
    student = convert(plain, NetworkSpec(overrides={"kept": {"keep": True}}), discover(plain, inputs))
    calibrate(student, inputs)
    counts = distinct_codes(student, inputs)
    assert {"q", "k", "map", "v", "inner.q", "inner.k", "inner.map", "inner.v"} <= counts.keys()
    assert min(counts.values()) > 1
