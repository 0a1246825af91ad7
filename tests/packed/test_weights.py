from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import load_weights, write_packed

WEIGHTS = {"conv.weight": torch.arange(12.0).reshape(3, 4), "conv.bias": torch.tensor([1.0, 2.0, 3.0])}
OTHERS = {name: tensor + 1 for name, tensor in WEIGHTS.items()}


def saved(content, **how):
    stream = io.BytesIO()
    torch.save(content, stream, **how)
    return stream.getvalue()


def is_weights(found):
    return list(found) == list(WEIGHTS) and all(torch.equal(found[name], t) for name, t in WEIGHTS.items())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def test_files_of_every_kind_are_read_whatever_their_name(path):
    for content in (saved(WEIGHTS), saved(WEIGHTS, _use_new_zipfile_serialization=False)):
        path.write_bytes(content)
        assert is_weights(load_weights(path))
    path.write_bytes(save(WEIGHTS))
    assert load_weights(str(path)).keys() == WEIGHTS.keys()


@pytest.mark.parametrize(
    ("content", "param_key"),
    [
        ({"params": WEIGHTS}, None),
        ({"params_ema": WEIGHTS}, None),
        ({"params": OTHERS, "params_ema": WEIGHTS}, None),
        ({"params": WEIGHTS, "params_ema": OTHERS}, "params"),
        ({"state_dict": WEIGHTS, "params_ema": OTHERS}, "state_dict"),
        ({"params": WEIGHTS}, "params_ema"),
        (WEIGHTS, "params_ema"),
        ({f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, None),
        ({"params": {f"module.{name}": tensor for name, tensor in WEIGHTS.items()}}, None),
    ],
    ids=["params", "ema", "ema first", "asked", "asked other", "asked absent", "bare", "parallel", "parallel params"],
)
def test_the_entry_asked_for_or_there_is_taken(path, content, param_key):
    torch.save(content, path)
    assert is_weights(load_weights(path, param_key=param_key))


def test_buffers_the_network_derives_itself_are_left_out(path):
    blocks = "layers.0.residual_group.blocks.1."
    buffers = {
        blocks + "attn_mask": torch.ones(4, 64, 64),
        blocks + "attn.relative_position_index": torch.ones(64, 64, dtype=torch.int64),
    }
    torch.save({"params": {**WEIGHTS, **buffers}}, path)
    assert is_weights(load_weights(path))
    save_file({**WEIGHTS, **buffers}, path)
    assert load_weights(path).keys() == WEIGHTS.keys()


def test_a_module_that_is_named_module_keeps_its_name(path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert list(load_weights(path)) == ["module.a", "b"]


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("evil_was_here",))


@pytest.mark.parametrize(
    "content",
    [
        saved({"params": Evil()}),
        saved({"params": Evil()}, _use_new_zipfile_serialization=False),
        pickle.dumps(Evil()),
        pickle.dumps(Evil(), protocol=2),
        saved(torch.nn.Linear(2, 2)),
    ],
    ids=["zip", "legacy", "pickle", "pickle 2", "module"],
)
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(path, content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path.write_bytes(content)
    with pytest.raises(
        CompSRTError, match=r"a pickle of more than weights, which could run code.*; allowed: a state dict"
    ):
        load_weights(path)
    assert not Path("evil_was_here").exists()


def test_the_refusal_names_what_the_pickle_calls(path):
    path.write_bytes(saved({"params": Evil()}))
    with pytest.raises(CompSRTError, match=r"it names \w+\.mkdir"):
        load_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page .*use the URL of the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"just some words", "is a text file"),
        (b"\x89PNG\r\n\x1a\n", "is an image"),
        (b"\x00\x01\x02\x03", "of an unknown kind"),
        (saved([torch.ones(2)]), "holds a list, not tensors by name"),
        (saved({}), "holds a dict without entries"),
        (saved(torch.ones(2)), "holds a Tensor"),
        (saved({"a": torch.ones(2), "epoch": 3}), r"holds 1 entries that are not tensors \(epoch\)"),
        (
            saved({"epoch": 3, "iter": 5, "optimizers": [], "schedulers": []}),
            "training state; the weights are in the folder models/",
        ),
    ],
    ids=["empty", "page", "pointer", "text", "picture", "bytes", "list", "nothing", "tensor", "mixed", "state"],
)
def test_what_is_no_state_dict_is_one_line(path, content, message):
    path.write_bytes(content)
    with pytest.raises(CompSRTError, match=message) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


SQUARE = torch.eye(3)
NOT_PLAIN = {
    "coo": (lambda: SQUARE.to_sparse(), r"a sparse tensor \(sparse_coo\)"),
    "csr": (lambda: SQUARE.to_sparse_csr(), r"a sparse tensor \(sparse_csr\)"),
    "meta": (lambda: SQUARE.to("meta"), r"a tensor without data \(device meta\)"),
    "qint8": (lambda: torch.quantize_per_tensor(SQUARE, 0.1, 0, torch.qint8), r"a quantized tensor \(qint8\)"),
    "float8": (lambda: SQUARE.to(torch.float8_e4m3fn), r"a quantized tensor \(float8_e4m3fn\)"),
    "int8": (lambda: SQUARE.to(torch.int8), r"a weight of integers \(int8\)"),
    "bool": (lambda: SQUARE.bool(), r"a weight of integers \(bool\)"),
    "complex": (lambda: SQUARE.to(torch.complex64), r"complex numbers \(complex64\)"),
}


@pytest.mark.filterwarnings("ignore")  # torch on sparse and quantized tensors
@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_tensors_that_no_network_can_take_over_are_one_line(path, kind):
    make, message = NOT_PLAIN[kind]
    torch.save({"params": {**WEIGHTS, "layer.weight": make()}}, path)
    with pytest.raises(CompSRTError, match=rf"weights\.pth holds {message}: layer\.weight; allowed: dense tensors"):
        load_weights(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_numbers_of_every_width_are_read(path, dtype):
    torch.save({name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}, path)
    assert is_weights({name: tensor.float() for name, tensor in load_weights(path).items()})


def test_counters_and_indices_may_be_integers(path):
    torch.save({**WEIGHTS, "norm.num_batches_tracked": torch.tensor(3), "rpi_sa": torch.ones(2, 2).long()}, path)
    assert len(load_weights(path)) == 4


def test_other_archives_are_named_for_what_they_are(path):
    np.savez(path.with_suffix(".npz"), weight=np.ones(3))
    with pytest.raises(CompSRTError, match=r"is a NumPy archive \(\.npz\)"):
        load_weights(path.with_suffix(".npz"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("release/net.pth", saved(WEIGHTS))
    with pytest.raises(CompSRTError, match=r"is a ZIP archive: unpack it and name release/net\.pth"):
        load_weights(path)
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(CompSRTError, match="is a TorchScript program, which is code"):
        load_weights(path)


@pytest.mark.parametrize(
    "content",
    [saved(WEIGHTS), saved(WEIGHTS, _use_new_zipfile_serialization=False), save(WEIGHTS)],
    ids=["zip", "legacy", "safetensors"],
)
def test_half_a_file_is_one_line(path, content):
    for length in range(20, len(content) - 1, max(1, len(content) // 30)):
        path.write_bytes(content[:length])
        with pytest.raises(CompSRTError, match=r"; copy or download it again|a pickle of more than weights") as caught:
            load_weights(path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_a_flipped_bit_in_a_pth_is_noticed(path):
    content = bytearray(saved({"a": torch.ones(1000)}))
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(CompSRTError, match=r"damaged .*the checksum of .*data/0 is wrong"):
        load_weights(path)


def test_an_archive_of_something_else_is_one_line(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CompSRTError, match="another kind of file, damaged, or truncated"):
        load_weights(path)


def test_a_packed_checkpoint_is_no_teacher(path):
    write_packed(path, WEIGHTS, {}, {})
    with pytest.raises(CompSRTError, match="is a packed, quantized checkpoint; allowed: a state dict"):
        load_weights(path)


def test_a_missing_file_and_a_strange_address_are_one_line(tmp_path):
    with pytest.raises(CompSRTError, match="no such file"):
        load_weights(tmp_path / "none.pth")
    with pytest.raises(CompSRTError, match=r"cannot download ftp://host/x; allowed: a path, http:// or https://"):
        load_weights("ftp://host/x")


def test_the_checksum_of_a_local_file_is_checked_too(path):
    path.write_bytes(saved(WEIGHTS))
    assert is_weights(load_weights(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    with pytest.raises(CompSRTError, match="has the sha256"):
        load_weights(path, sha256="0" * 64)


def test_weights_come_from_an_address_as_from_a_path(server, own_cache):
    url = server.serve("/x4.pth", saved({"params": WEIGHTS}))
    assert is_weights(load_weights(url))
    assert is_weights(load_weights(url))
    assert server.asked == ["/x4.pth"]


@pytest.mark.parametrize(
    ("body", "how", "message"),
    [
        (b"<html>sign in</html>", {}, "is a web page"),
        (b"", {}, "is empty"),
        (b"gone", {"status": 404}, "answers 404"),
        (saved(WEIGHTS), {"announced": 10_000_000}, "broke off after"),
        (saved(WEIGHTS)[:-100], {}, "damaged or truncated"),
        (saved(WEIGHTS)[:-100], {"announced": None}, "damaged or truncated"),
    ],
    ids=["page", "empty", "missing", "broken off", "half", "half of unknown length"],
)
def test_a_download_that_went_wrong_is_one_line_and_tried_anew(server, own_cache, body, how, message):
    url = server.serve("/x4.pth", body, **how)
    with pytest.raises(CompSRTError, match=message) as caught:
        load_weights(url)
    assert url in str(caught.value)
    assert not any(path.is_file() for path in own_cache.rglob("*"))
    server.serve("/x4.pth", saved(WEIGHTS))
    assert is_weights(load_weights(url))
