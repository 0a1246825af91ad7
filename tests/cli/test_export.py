"""`basicsr export` writes what others can load: a packed file, or weights for an unpatched SwinIR."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_networks import ARCH, save, small_network

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import load_weights, read_packed, write_packed
from compsrt_plugin.packed.inputs import HEAD_BYTES, FileKind, file_kind
from compsrt_plugin.quant import Mode, named_quantizers, quantized_layers

PICTURE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
PRUNINGS = {
    "whole": None,
    "magnitude": {"hook": "magnitude", "ratio": 0.4},
    "rows": {"hook": "channel", "ratio": 0.4, "options": {"axis": "rows"}},
    "2:4": {"hook": "n_m", "ratio": None},
}


def upscaled(network: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network(PICTURE)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("pruning", PRUNINGS)
def test_dense_weights_load_strictly_into_basicsr_and_compute_with_the_quantized_weights(tmp_path, bits, pruning):
    network = small_network(bits, pruning=PRUNINGS[pruning])
    source = save(tmp_path / "net.safetensors", network, bits)
    assert main(["export", str(source), "--out", str(tmp_path / "net.pth"), "--dense"]) == 0
    from basicsr.archs.swinir_arch import SwinIR

    theirs = SwinIR(**{**CompSRTSwinIR.LIGHT, **ARCH}).eval()
    theirs.load_state_dict(torch.load(tmp_path / "net.pth", weights_only=True)["params"], strict=True)
    weights = {layer.weight_quantizer for _, layer in quantized_layers(network)}
    for _, quantizer in named_quantizers(network):
        if quantizer not in weights:
            quantizer.mode = Mode.OFF
    assert torch.allclose(upscaled(theirs), upscaled(network), atol=1e-5)


@pytest.mark.parametrize("fields", [{"transform": "none"}, {"granularity": "per_channel"}, {"codes": "paper"}], ids=str)
def test_dense_weights_are_those_of_every_kind_of_quantizer(tmp_path, fields):
    network = small_network(4, **fields)
    source = save(tmp_path / "net.safetensors", network, 4)
    main(["export", str(source), "--out", str(tmp_path / "net.pth"), "--dense"])
    params = torch.load(tmp_path / "net.pth", weights_only=True)["params"]
    layer = dict(quantized_layers(network))["layers.0.residual_group.blocks.1.mlp.fc2"]
    expected = layer.weight_quantizer.inverse(layer.quantized_matrix(), 120)
    assert torch.equal(params["layers.0.residual_group.blocks.1.mlp.fc2.weight"], expected)


def test_a_packed_file_exported_anew_holds_the_same_and_is_no_larger(tmp_path: Path, capsys):
    source = save(tmp_path / "net.safetensors", small_network(pruning=PRUNINGS["magnitude"]))
    packed = read_packed(source)
    write_packed(tmp_path / "older", packed.state, packed.code_bits, packed.header)  # masks not made use of
    assert main(["export", str(tmp_path / "older"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again").read_bytes() == source.read_bytes()
    assert "packed, 3 bits, x4" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["net.pth", "NET.PT", "net.safetensors", "net"])
def test_dense_weights_are_of_the_kind_that_the_name_says(tmp_path: Path, name: str):
    source = save(tmp_path / "packed.safetensors", small_network())
    assert main(["export", str(source), "--dense", "--out", str(tmp_path / name)]) == 0
    assert main(["export", str(source), "--dense", "--out", str(tmp_path / "other.pth")]) == 0
    with open(tmp_path / name, "rb") as file:
        kind = file_kind(file.read(HEAD_BYTES))
    assert kind is (FileKind.SAFETENSORS if name.endswith(".safetensors") else FileKind.TORCH_ZIP)
    found, expected = load_weights(tmp_path / name), load_weights(tmp_path / "other.pth")
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nothing.safetensors", "--out", "x"], "no such file: nothing.safetensors"),
        (["net.safetensors", "--out", "./net.safetensors"], "--out is the file to export"),
        (["net.safetensors", "--out", "net.safetensors/x"], "cannot write"),
        (["--out", "x"], "one of the arguments CHECKPOINT -opt is required"),
        (["net.safetensors"], "one of the arguments --out --onnx --hub --openmodeldb is required"),
        (["net.safetensors", "--onnx", "./net.safetensors"], "--onnx is the file to export"),
        (["net.safetensors", "--onnx", "x", "--dense"], "--dense and --onnx are both given"),
        (["-opt", "compsrt_x9_3bit.yml", "--out", "x"], "no option file 'compsrt_x9_3bit.yml'"),
        (["net.safetensors", "--out", "x.pth"], "--out x.pth ends in .pth; allowed: .safetensors"),
        (["net.safetensors", "--out", "x", "--onnx-names", "lq", "sr"], "--onnx-names is given without --onnx"),
        (["net.safetensors", "--out", "x", "--onnx-kind", "exact"], "--onnx-kind is given without --onnx"),
        (["net.safetensors", "--out", "x", "--fp16"], "--fp16 is given without --onnx"),
        (["net.safetensors", "--onnx", "x", "--onnx-images", "DIR"], "--onnx-images is given for the kind weights"),
        (["net.safetensors", "--onnx", "x", "--onnx-kind", "exat"], "invalid choice: 'exat'"),
        (["net.safetensors", "--onnx", "x", "--onnx-names", "x", "x"], "are 'x' and 'x'; allowed: two different names"),
        (["net.safetensors", "--onnx", "x.pth"], "--onnx x.pth ends in .pth; allowed: .onnx"),
        (["net.safetensors", "--dense", "--out", "x.onnx"], "x.onnx ends in .onnx; allowed: .pth or .pt or .saf"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "net.safetensors", small_network())
    assert main(["export", *argv]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_an_option_file_names_the_network(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "-opt", "compsrt_x4_7bit.yml", "--out", "x"]) == 2
    from compsrt_plugin.config.files import option_files

    (tmp_path / "mine.yml").write_text(option_files("train")["compsrt_x4_3bit"].read_text())
    assert main(["export", "-opt", "mine.yml", "--out", "x"]) == 2
    assert "make it: basicsr train -opt mine.yml" in capsys.readouterr().err
    path = tmp_path / "experiments/compsrt_x4_3bit/models/compsrt_x4_3bit.safetensors"
    path.parent.mkdir(parents=True)
    save(path, small_network())
    assert main(["export", "-opt", "mine.yml", "--out", "x"]) == 0
    assert (tmp_path / "x").read_bytes() == path.read_bytes()


def test_onnx_says_its_opset(tmp_path: Path, capsys):
    pytest.importorskip("onnx.checker")  # a folder of tests is called onnx, too
    source = save(tmp_path / "net.safetensors", small_network())
    assert main(["export", str(source), "--onnx", str(tmp_path / "net.onnx")]) == 0
    size = (tmp_path / "net.onnx").stat().st_size
    assert capsys.readouterr().out == f"{tmp_path / 'net.onnx'}: {size:,} bytes (ONNX, opset 21, weights, 3 bits, x4)\n"


def test_onnx_of_16_bit_floats_says_so(tmp_path: Path, capsys):
    pytest.importorskip("onnx.checker")  # a folder of tests is called onnx, too
    source = save(tmp_path / "net.safetensors", small_network())
    assert main(["export", str(source), "--onnx", str(tmp_path / "net.onnx"), "--fp16"]) == 0
    assert "(ONNX, opset 21, weights, 16-bit floats, 3 bits, x4)" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "names"), [([], ("input", "output")), (["--onnx-names", "lq", "sr"], ("lq", "sr"))])
def test_onnx_input_and_output_have_the_names_that_other_tools_expect(tmp_path: Path, given, names):
    pytest.importorskip("onnx.checker")
    import onnx

    source = save(tmp_path / "net.safetensors", small_network())
    assert main(["export", str(source), "--onnx", str(tmp_path / "net.onnx"), *given]) == 0
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert ([value.name for value in graph.input], [value.name for value in graph.output]) == ([names[0]], [names[1]])
