from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.container import MAX_HEAD, FilePart, assemble, is_packed, read_container

from .damages import put_together, take_apart

PARTS = {"wide": FilePart("F32", torch.tensor([1.0, 2.0]).numpy().tobytes()), "narrow": FilePart("U8", b"abc")}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(assemble(PARTS, {"note": "x"}))
    return path


def test_parts_and_metadata_come_back(path):
    found = read_container(path)
    assert found.parts == PARTS
    assert found.metadata["note"] == "x"
    assert found.bytes == path.stat().st_size
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_safetensors_library_reads_the_same(path):
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"wide", "narrow"}
        assert file.get_tensor("wide").tolist() == [1.0, 2.0]
        assert bytes(file.get_tensor("narrow").tolist()) == b"abc"
        assert file.metadata() == read_container(path).metadata


def test_no_bit_of_a_file_can_flip_unnoticed(path):
    content = path.read_bytes()
    for i in range(len(content) * 8):
        spoilt = bytearray(content)
        spoilt[i // 8] ^= 1 << (i % 8)
        path.write_bytes(spoilt)
        with pytest.raises(CompSRTError):
            read_container(path)


def test_a_file_cut_anywhere_is_refused(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CompSRTError):
            read_container(path)


def test_a_cut_file_says_how_much_is_missing(path):
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    with pytest.raises(CompSRTError) as caught:
        read_container(path)
    assert f"it has {len(content) - 2:,} bytes, its header says {len(content):,}" in str(caught.value)


@pytest.mark.parametrize(
    "lie",
    [
        {"dtype": "U8", "shape": [3], "data_offsets": [8, 12]},
        {"dtype": "U8", "shape": [2], "data_offsets": [8, 11]},
        {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        {"dtype": "U8", "shape": [3.0], "data_offsets": [8, 11]},
        {"dtype": "U8", "shape": [3], "data_offsets": [8, 11.0]},
        {"dtype": "U8", "shape": [True], "data_offsets": [8, 9]},
        {"dtype": "U8", "shape": [3, 1], "data_offsets": [8, 11]},
        {"dtype": "U8", "shape": [], "data_offsets": [8, 9]},
        {"dtype": "U8", "shape": [-3], "data_offsets": [8, 5]},
        {"dtype": "F64", "shape": [3], "data_offsets": [8, 32]},
        {"dtype": ["U8"], "shape": [3], "data_offsets": [8, 11]},
        {"dtype": "U8", "shape": [3], "data_offsets": [8, 11], "more": 1},
        {"dtype": "U8", "shape": [3]},
        {"dtype": "U8", "shape": [2**62], "data_offsets": [8, 8 + 2**62]},
        [8, 11],
        None,
    ],
    ids=str,
)
def test_a_lie_about_a_part_is_refused_although_the_seal_is_right(path, lie):
    head, body = take_apart(path.read_bytes())
    head["narrow"] = lie
    path.write_bytes(put_together(head, body, seal=True))
    with pytest.raises(CompSRTError, match="is damaged: it"):
        read_container(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 63}, "checksum is missing"),
        ({"sha256": None}, "not strings"),
        ({"version": 1}, "not strings"),
        ({"copy": "{sha256}"}, "it contains its checksum twice"),
    ],
    ids=str,
)
def test_odd_metadata_are_refused(path, change, message):
    head, body = take_apart(path.read_bytes())
    metadata = head["__metadata__"]
    metadata.update({k: metadata["sha256"] if v == "{sha256}" else v for k, v in change.items()})
    path.write_bytes(put_together(head, body, seal=False))
    with pytest.raises(CompSRTError, match=message):
        read_container(path)


@pytest.mark.parametrize("seal", [True, False])
def test_a_file_of_another_version_is_told_by_it_whatever_its_seal(path, seal):
    head, body = take_apart(path.read_bytes())
    head["__metadata__"]["version"] = "4"
    path.write_bytes(put_together(head, body, seal=seal))
    with pytest.raises(
        CompSRTError, match="packed checkpoint of version '4'; allowed: versions 1, 2, 3; install a newer"
    ):
        read_container(path)


def test_an_endless_header_is_refused_before_it_is_read(path):
    path.write_bytes((MAX_HEAD + 1).to_bytes(8, "little") + b"{")
    with pytest.raises(CompSRTError, match="header of 1,048,577 bytes"):
        read_container(path)


def test_a_sparse_file_of_a_terabyte_costs_nothing(path):
    content = path.read_bytes()
    with open(path, "r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(CompSRTError, match=f"its header says {len(content):,}"):
        read_container(path)


def test_metadata_too_large_for_a_reader_are_not_written():
    with pytest.raises(ValueError, match="at most"):
        assemble(PARTS, {"header": "x" * MAX_HEAD})


def test_ordinary_weights_are_told_from_a_packed_checkpoint(path, tmp_path):
    save_file({"a": torch.ones(2), "b": torch.ones(1)}, tmp_path / "plain.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "plain.pth")
    assert is_packed(path)
    assert not is_packed(tmp_path / "plain.safetensors")
    assert not is_packed(tmp_path / "plain.pth")
    with pytest.raises(
        CompSRTError, match=r"safetensors file of 2 tensors, but not a packed checkpoint; .*quantize it"
    ):
        read_container(tmp_path / "plain.safetensors")
    with pytest.raises(CompSRTError, match=r"is a PyTorch file .*; allowed: a packed checkpoint.*; quantize it"):
        read_container(tmp_path / "plain.pth")


def test_a_damaged_packed_checkpoint_still_counts_as_one(path):
    path.write_bytes(path.read_bytes()[:-1])
    assert is_packed(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PNG", b"\0" * 100], ids=repr)
def test_what_is_neither_is_one_line(path, content):
    path.write_bytes(content)
    for reader in (is_packed, read_container):
        with pytest.raises(CompSRTError, match="allowed: a packed checkpoint"):
            reader(path)


def test_a_header_that_is_json_but_no_table_is_refused(path):
    for text in (b"{}", b'{"__metadata__":[]}', b'{"a":', json.dumps({"a": [[]] * 9}).encode()):
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(CompSRTError):
            read_container(path)
