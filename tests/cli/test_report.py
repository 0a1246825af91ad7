"""`basicsr report` accounts for every byte of a packed file, for every layer, and for the arithmetic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from small_networks import save, small_network

from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import read_packed, write_packed
from compsrt_plugin.packed.header import pack_options

PRUNED = {"hook": "magnitude", "ratio": 0.4}


@pytest.fixture
def report(tmp_path: Path, capsys):
    def run(network, *argv: str, bits: int = 3) -> dict:
        path = save(tmp_path / "net.safetensors", network, bits)
        assert main(["report", str(path), "--json", *argv]) == 0
        return {**json.loads(capsys.readouterr().out), "path": path}

    return run


def test_the_totals_are_those_of_the_file_and_every_byte_is_accounted_for(report):
    network = small_network()
    found = report(network)
    totals = found["totals"]
    assert set(totals) >= {
        "bytes", "float_bytes", "bits_per_weight", "entropy_bits_per_weight", "pruned_share", "parameters", "macs",
        "bitops",
    }  # fmt: skip
    assert totals["bytes"] == found["path"].stat().st_size
    assert sum(layer["bytes"] for layer in found["layers"]) + sum(found["others"].values()) == totals["bytes"]
    assert totals["float_bytes"] == 4 * totals["parameters"]
    assert found["compression"]["by_file"] == pytest.approx(totals["float_bytes"] / totals["bytes"])
    assert found["kinds"]["linear"]["bits_per_weight"] == 3
    assert found["kinds"]["convolution"]["bits_per_weight"] == 8


@pytest.mark.parametrize(("bits", "expected"), [(3, 2.8), (4, 3.4)])
def test_pruning_shows_in_bits_entropy_and_bytes(report, bits, expected):
    whole = report(small_network(bits), bits=bits)
    pruned = report(small_network(bits, pruning=PRUNED), bits=bits)
    linear = pruned["kinds"]["linear"]
    assert linear["pruned_share"] == pytest.approx(0.4, abs=1e-3)
    assert linear["bits_per_weight"] == pytest.approx(expected, abs=1e-3)
    assert linear["entropy_bits_per_weight"] < linear["bits_per_weight"]
    assert linear["bytes"] < whole["kinds"]["linear"]["bytes"]
    assert pruned["totals"]["macs"] == whole["totals"]["macs"]  # zeros here and there save no multiply-adds


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_whole_channels_save_bytes_and_operations(report, axis):
    pruning = {"hook": "channel", "ratio": 0.5, "options": {"axis": axis}}
    whole, pruned = report(small_network()), report(small_network(pruning=pruning))
    assert pruned["kinds"]["linear"]["bits_per_weight"] == pytest.approx(1.5, abs=0.02)
    assert pruned["kinds"]["linear"]["bytes"] < 0.7 * whole["kinds"]["linear"]["bytes"]
    saved = [(a["macs"], b["macs"]) for a, b in zip(whole["layers"], pruned["layers"]) if a["kind"] == "linear"]
    assert all(after * 2 == before for before, after in saved)
    assert pruned["totals"]["float_macs"] == whole["totals"]["macs"]


def test_parameters_are_those_of_the_full_precision_network(report):
    plain = small_network(conv_bits=None)
    parameters = sum(p.numel() for name, p in plain.named_parameters() if "_quantizer" not in name)
    assert report(plain)["totals"]["parameters"] == parameters


def test_operations_grow_with_the_picture(report):
    network = small_network()
    small, large = report(network, "--size", "16x16"), report(network, "--size", "32x32")
    assert large["totals"]["macs"] == 4 * small["totals"]["macs"]
    assert large["totals"]["bitops"] == 4 * small["totals"]["bitops"]
    assert large["input"] == {"height": 32, "width": 32}
    assert large["totals"]["bitops_32bit"] == large["totals"]["bitops"] / 1024


def test_the_table_names_every_layer_and_both_ratios(tmp_path: Path, capsys):
    path = save(tmp_path / "net.safetensors", small_network(pruning=PRUNED))
    assert main(["report", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.count("attn.qkv.q ") == 2 and "conv_after_body" in text
    assert "times smaller" in text and "by count" in text and "40.0%" in text
    assert max(map(len, text.splitlines())) <= 110


def test_a_picture_shows_where_the_bytes_go(tmp_path: Path, capsys):
    path = save(tmp_path / "net.safetensors", small_network())
    assert main(["report", str(path), "--picture", str(tmp_path / "where.png")]) == 0
    with Image.open(tmp_path / "where.png") as picture:
        assert picture.width == 1280 and len(picture.getcolors(1 << 24)) > 8


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nothing.safetensors"], "no such file: nothing.safetensors"),
        (["net.safetensors", "--size", "64"], "--size is '64'; allowed: height x width"),
        (["net.safetensors", "--size", "0x64"], "--size is '0x64'"),
        (["net.safetensors", "--size", "99999x64"], "--size is '99999x64'"),
        (["net.safetensors", "--picture", "net.safetensors/x.png"], "cannot write"),
        (["net.safetensors", "--picture", "where.pdf"], "--picture where.pdf ends in .pdf; allowed: .png"),
        (["spoilt.safetensors"], "spoilt.safetensors is damaged"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "net.safetensors", small_network())
    (tmp_path / "spoilt.safetensors").write_bytes((tmp_path / "net.safetensors").read_bytes()[:-1])
    assert main(["report", *argv]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_option_file_is_printed_and_its_absence_is_one_line(tmp_path: Path, capsys):
    path = save(tmp_path / "net.safetensors", small_network())
    assert main(["report", str(path), "--options"]) == 2
    assert "does not hold its option file" in capsys.readouterr().err
    packed = read_packed(path)
    packed.header["provenance"]["options"] = pack_options("name: mine\n")
    write_packed(path, packed.state, packed.code_bits, packed.header)
    assert main(["report", str(path), "--options"]) == 0
    assert capsys.readouterr().out == "name: mine\n"


@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_sensitivity_lists_activations_and_the_overrides_that_help(exact: list[str], tmp_path, capsys):
    path = save(tmp_path / "net.safetensors", small_network())
    assert main(["report", str(path), "--sensitivity", "2", "--json", *exact]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exact"] is bool(exact)
    activations = found["activations"]
    assert len(activations) == 2 * 10  # inputs of q, k, v, proj, fc1, fc2; q, k, v and the map
    assert all(one["error"] > 0 for one in activations)
    assert main(["report", str(path), "--sensitivity", "2", *exact]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == [one["name"] for one in activations[:2]]
    assert lines[-1].startswith(f'\'quant:overrides={{"{activations[0]["name"]}": {{bits: 6}}, ')


def test_exact_belongs_to_sensitivity(tmp_path, capsys):
    path = save(tmp_path / "net.safetensors", small_network())
    assert main(["report", str(path), "--exact"]) == 2
    assert "--exact without --sensitivity" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_count_of_activations_that_is_none_is_refused(number, tmp_path, capsys):
    path = save(tmp_path / "net.safetensors", small_network())
    assert main(["report", str(path), "--sensitivity", number]) != 0
    assert f"--sensitivity is {number}" in capsys.readouterr().err
