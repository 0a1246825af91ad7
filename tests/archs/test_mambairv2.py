"""MambaIRv2-light: the published files' keys, any size, what the state-space module promises, and its quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compsrt_plugin.archs import attentive_state_space
from compsrt_plugin.archs import mambairv2_light_arch as arch
from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.archs.mambairv2_light_arch import MambaIRv2Light
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.models.input_files import find_files
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate, distinct_codes, named_quantizers

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
SMALL = {"embed_dim": 12, "depths": (2,), "num_heads": (2,), "window_size": 4, "inner_rank": 3, "num_tokens": 5}
LINEAR = ("wqkv", "win_mhsa.proj", "assm.out_proj", "assm.route.0", "assm.route.2")
LINEAR += tuple(f"convffn{i}.fc{j}" for i in (1, 2) for j in (1, 2))

NOISE = arch._gumbel_noise(5)


def small(**arguments) -> MambaIRv2Light:
    torch.manual_seed(0)
    network = MambaIRv2Light(**{**SMALL, **arguments}).eval()
    for module in network.modules():
        if isinstance(module, nn.Linear):  # as they are initialized, attention and routing hardly depend on the picture
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return network


def test_names_and_shapes_are_those_of_the_published_files() -> None:
    state = MambaIRv2Light(upscale=4).state_dict()
    layer = "layers.3.residual_group.layers.4."
    assert len(state) == 1019
    assert sum(x.numel() for x in MambaIRv2Light(upscale=4).parameters()) == 789_680
    assert {name[len(layer) :]: tuple(x.shape) for name, x in state.items() if name.startswith(layer)} == {
        "scale1": (48,),
        "scale2": (48,),
        **{f"norm{i}.{part}": (48,) for i in (1, 2, 3, 4) for part in ("weight", "bias")},
        "wqkv.weight": (144, 48),
        "wqkv.bias": (144,),
        "win_mhsa.relative_position_bias_table": (961, 4),
        "win_mhsa.proj.weight": (48, 48),
        "win_mhsa.proj.bias": (48,),
        "assm.selectiveScan.x_proj_weight": (1, 19, 48),
        "assm.selectiveScan.dt_projs_weight": (1, 48, 3),
        "assm.selectiveScan.dt_projs_bias": (1, 48),
        "assm.selectiveScan.A_logs": (48, 8),
        "assm.selectiveScan.Ds": (48,),
        "assm.out_norm.weight": (48,),
        "assm.out_norm.bias": (48,),
        "assm.out_proj.weight": (48, 48),
        "assm.out_proj.bias": (48,),
        "assm.in_proj.0.weight": (48, 48, 1, 1),
        "assm.in_proj.0.bias": (48,),
        "assm.CPE.0.weight": (48, 1, 3, 3),
        "assm.CPE.0.bias": (48,),
        "assm.embeddingB.weight": (64, 32),
        "assm.route.0.weight": (16, 48),
        "assm.route.0.bias": (16,),
        "assm.route.2.weight": (64, 16),
        "assm.route.2.bias": (64,),
        **{
            f"convffn{i}.{name}": shape
            for i in (1, 2)
            for name, shape in {
                "fc1.weight": (48, 48),
                "fc1.bias": (48,),
                "sg.norm.weight": (24,),
                "sg.norm.bias": (24,),
                "sg.conv.weight": (24, 1, 5, 5),
                "sg.conv.bias": (24,),
                "fc2.weight": (48, 24),
                "fc2.bias": (48,),
            }.items()
        },
        "embeddingA.weight": (32, 8),
    }
    others = {name for name in state if ".residual_group." not in name}
    assert others == {
        "relative_position_index_SA",
        *(
            f"{name}.{part}"
            for name in ("conv_first", "patch_embed.norm", "norm", "conv_after_body", "upsample.0")
            for part in ("weight", "bias")
        ),
        *(f"layers.{i}.conv.{part}" for i in range(4) for part in ("weight", "bias")),
    }


@pytest.mark.skipif(not (SHARED / "weights/mambairv2_light_x4.pth").is_file(), reason="published weights are not here")
def test_published_weights_enlarge_a_picture_as_well_as_they_are_said_to() -> None:
    import cv2
    from basicsr.metrics import calculate_psnr

    network = MambaIRv2Light(upscale=4).eval()
    weights = torch.load(SHARED / "weights/mambairv2_light_x4.pth", weights_only=True)["params"]
    network.load_state_dict(weights)
    pictures = SHARED / "data/benchmark/Set5"
    given = cv2.imread(str(pictures / "LR_bicubic/X4/butterflyx4.png"))[..., ::-1].copy()
    with torch.inference_mode():
        found = network(torch.from_numpy(given).permute(2, 0, 1)[None].float() / 255)
    found = (found[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[..., ::-1]
    wanted = cv2.imread(str(pictures / "HR/butterfly.png"))
    assert calculate_psnr(found, wanted, crop_border=4, test_y_channel=True) > 29.1  # bicubic: 22.1


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (5, 4)])
def test_pictures_of_any_size_are_continued_by_their_mirror_image(size: tuple[int, int]) -> None:
    network = small()
    x = torch.rand(2, 3, *size)
    to_windows = [(0, -side % 4) for side in size]
    mirrored = torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), *to_windows], mode="symmetric"))
    with torch.no_grad():
        found, wanted = network(x), network(mirrored)
    assert found.shape == (2, 3, 4 * size[0], 4 * size[1])
    assert torch.equal(found, wanted[..., : found.shape[2], : found.shape[3]])


def test_pictures_of_a_batch_do_not_depend_on_each_other() -> None:
    network = small()
    x = torch.rand(3, 3, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


@pytest.mark.parametrize("shift", [0, 2])
def test_attention_reaches_the_pixels_of_its_window_and_no_other(shift: int) -> None:
    layer = small().layers[0].residual_group.layers[1 if shift else 0]
    qkv = torch.randn(1, 12, 12, 36, requires_grad=True)
    index, mask = arch._pair_index(4), arch._shift_mask(torch.zeros(1, 12, 12, 1), 4)
    for y, x in [(0, 0), (1, 7), (5, 6), (11, 11), (10, 0)]:
        (grad,) = torch.autograd.grad(layer._attend(qkv, index, mask)[0, y, x].sum(), qkv)
        reached = grad.abs().sum(-1)[0] > 1e-20  # masked is what gets a weight of exp(-100)
        # cut at multiples of 4, or 2 pixels before them
        window = [(torch.arange(12) + shift) // 4 == (place + shift) // 4 for place in (y, x)]
        assert torch.equal(reached, window[0][:, None] & window[1])


def test_tokens_are_scanned_in_the_order_of_their_prompts_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = small().layers[0].residual_group.layers[0].assm, torch.randn(2, 4, 8, 12)
    seen = []
    monkeypatch.setattr(module.selectiveScan, "forward", lambda tokens, prompts: seen.append(tokens) or tokens)
    found = module(x, torch.randn(3, 8), NOISE)
    pixels = module.in_proj(x.permute(0, 3, 1, 2))
    pixels = (pixels * module.CPE(pixels).sigmoid()).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, module.out_proj(module.out_norm(pixels)))
    chosen = module.choose(x, NOISE).argmax(-1)
    assert len(chosen.unique()) > 2
    for tokens, labels, own in zip(seen[0], chosen, pixels.flatten(1, 2)):
        torch.testing.assert_close(tokens, torch.cat([own[labels == label] for label in range(5)]))


def test_the_output_matrix_of_a_token_has_the_prompt_added() -> None:
    scan, x = small().layers[0].residual_group.layers[0].assm.selectiveScan, torch.randn(2, 9, 12)
    prompts = torch.randn(2, 9, 8)
    step, B, C = (x @ scan.x_proj_weight[0].T).split([1, 8, 8], -1)
    delta = step @ scan.dt_projs_weight[0].T
    h, step = torch.zeros(2, 12, 8), nn.functional.softplus(delta + scan.dt_projs_bias)
    outputs = []
    for t in range(9):
        h = (-step[:, t, :, None] * scan.A_logs.exp()).exp() * h + (step * x)[:, t, :, None] * B[:, t, None]
        outputs.append(((C + prompts)[:, t, None] * h).sum(-1) + scan.Ds * x[:, t])
    torch.testing.assert_close(scan(x, prompts), torch.stack(outputs, 1), rtol=1e-4, atol=1e-5)


def test_the_choice_of_prompts_is_drawn_anew_in_training_only() -> None:
    module, x = small().layers[0].residual_group.layers[0].assm, torch.randn(2, 8, 8, 12)
    before = torch.get_rng_state()
    chosen = module.choose(x, NOISE)
    assert torch.equal(chosen, module.choose(x, NOISE)) and torch.equal(torch.get_rng_state(), before)
    assert torch.equal(chosen[1:], module.choose(x[1:], NOISE))
    assert torch.equal(chosen.detach().unique(), torch.tensor([0.0, 1.0])) and (chosen.sum(-1) == 1).all()
    module.train()
    torch.manual_seed(3)
    drawn = module.choose(x, NOISE)
    assert not torch.equal(drawn, module.choose(x, NOISE))
    torch.manual_seed(3)
    assert torch.equal(drawn, module.choose(x, NOISE))


def test_in_eval_mode_prompts_are_chosen_as_often_as_they_are_probable(monkeypatch: pytest.MonkeyPatch) -> None:
    module = small().layers[0].residual_group.layers[0].assm
    probability = torch.tensor([0.4, 0.3, 0.2, 0.1, 0.0])
    monkeypatch.setattr(module.route, "forward", lambda x: probability.log().expand(*x.shape[:3], 5))
    shares = module.choose(torch.zeros(1, 100, 300, 12), NOISE).mean((0, 1))  # more pixels than there are rows of noise
    torch.testing.assert_close(shares, probability, rtol=0, atol=0.015)


@pytest.mark.parametrize("training", [False, True])
def test_every_parameter_has_a_gradient(training: bool) -> None:
    network = small().train(training)
    network(torch.rand(1, 3, 8, 8)).square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_double_precision_and_the_kernels_agree() -> None:
    network, x = small(), torch.rand(1, 3, 16, 12)
    with torch.no_grad():
        found, wanted = network(x).double(), network.double()(x.double())
    assert (found - wanted).norm() < 1e-5 * wanted.norm()


def test_an_exported_network_gives_the_same_bits() -> None:
    network, x = small(), torch.rand(1, 3, 8, 12)
    exported = torch.export.export(network, (x,), strict=False)
    assert torch.equal(exported.module()(x), network(x))
    assert "compsrt.selective_scan" in exported.graph_module.code


def test_the_scan_computes_in_single_precision_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def scan(u: Tensor, *others: Tensor) -> Tensor:
        seen.update(x.dtype for x in (u, *others))
        return u

    monkeypatch.setattr(attentive_state_space, "selective_scan", scan)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        small()(torch.rand(1, 3, 8, 8))
    assert seen == {torch.float32}


def test_linear_layers_and_attention_are_quantized_and_the_scan_is_not() -> None:
    spec = QuantSpec(4)
    network = CompSRTNet(base={"type": "MambaIRv2Light", **SMALL}, quant=NetworkSpec(spec, spec, conv_bits=8)).eval()
    assert (network.scale, network.size_rule.multiple_of) == (4, 1)
    layer = "layers.0.residual_group.layers.1."
    names = {name[len(layer) :] for name, _ in named_quantizers(network) if name.startswith(layer)}
    assert names == {
        *(f"{name}.{side}" for name in (*LINEAR, "assm.in_proj.0") for side in ("weight", "input")),
        *(f"win_mhsa.{operand}" for operand in ("q", "k", "map", "v")),
    }
    assert set(network.kept.values()) == {"depth-wise convolution"}
    x = torch.rand(1, 3, 9, 14)
    calibrate(network, [x])
    counts = distinct_codes(network, [x])
    assert max(n for name, n in counts.items() if name.startswith("layers.") and ".residual_group." in name) <= 16


def test_an_option_file_without_weights_is_one_line_that_says_where_they_are() -> None:
    options = read_option_file(option_files("train")["compsrt_mambairv2_x4_4bit"])
    with pytest.raises(
        CompSRTError, match=r"path\.pretrain_network_g is empty.*https://github.com/csguoh/MambaIR/"
    ) as told:
        find_files(options["path"], 4, None, options["network_g"])
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("command", ["train", "test"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_its_option_files_describe_the_published_network(command: str, bits: int) -> None:
    options = read_option_file(option_files(command)[f"compsrt_mambairv2_x4_{bits}bit"])
    assert (options["scale"], options["quant"]["bits"], options["network_g"]["upscale"]) == (4, bits, 4)
    arguments = {key: value for key, value in options["network_g"]["base"].items() if key != "type"}
    with torch.device("meta"):
        named, default = MambaIRv2Light(**arguments).state_dict(), MambaIRv2Light(upscale=4).state_dict()
    assert {name: x.shape for name, x in named.items()} == {name: x.shape for name, x in default.items()}
