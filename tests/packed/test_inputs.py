from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.inputs import FileKind, check_torch, file_kind, open_input


def test_weight_files_are_known_by_their_contents(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "zip")
    torch.save({"a": torch.ones(2)}, tmp_path / "old", _use_new_zipfile_serialization=False)
    assert file_kind((tmp_path / "zip").read_bytes()) is FileKind.TORCH_ZIP
    assert file_kind((tmp_path / "old").read_bytes()) is FileKind.PICKLE
    assert file_kind(pickle.dumps([1], protocol=4)) is FileKind.PICKLE
    assert file_kind(save({"a": torch.ones(2)})) is FileKind.SAFETENSORS


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", FileKind.EMPTY),
        (b"\xef\xbb\xbf\r\n <!doctype HTML><html>", FileKind.HTML),
        (b"<html lang=en>", FileKind.HTML),
        (b"version https://git-lfs.github.com/spec/v1\noid", FileKind.LFS_POINTER),
        (b"\x89PNG\r\n\x1a\n", FileKind.IMAGE),
        (b'{"message": "Not Found"}', FileKind.TEXT),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", FileKind.NUMPY),
        (b"\x08\x0a\x12\x07pytorch", FileKind.ONNX),
        (b"\x08\x08\x3a\x80\x01", FileKind.ONNX),
        (b"GGUF\x03\x00\x00\x00", FileKind.GGUF),
        (b"\x89HDF\r\n\x1a\n", FileKind.HDF5),
        (b"\x1f\x8b\x08\x00", FileKind.ARCHIVE),
        (b"net.pth".ljust(257, b"\0") + b"ustar", FileKind.ARCHIVE),
        (b"\x00\x01\x02", FileKind.UNKNOWN),
    ],
    ids=lambda value: value.name if isinstance(value, FileKind) else "",
)
def test_what_is_no_weight_file_is_named(head, kind):
    assert file_kind(head) is kind


def test_a_missing_file_offers_its_nearest_neighbour(tmp_path):
    (tmp_path / "compsrt_x4_3bit.safetensors").write_bytes(b"x")
    with pytest.raises(CompSRTError, match=r"no such file: .*; allowed: weights; did you mean .*compsrt_x4_3bit\.safe"):
        open_input(tmp_path / "compsrt_x4_3bits.safetensors", "weights")


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(CompSRTError, match=r"no such file: .*; allowed: weights; check the path"):
        open_input(tmp_path / "none" / "file", "weights")


def test_folders_and_devices_are_no_files(tmp_path):
    with pytest.raises(CompSRTError, match="is not a file"):
        open_input(tmp_path, "weights")
    if os.path.exists("/dev/zero"):
        from pathlib import Path

        with pytest.raises(CompSRTError, match="is not a file"):
            open_input(Path("/dev/zero"), "weights")


def test_a_path_no_system_can_have_is_one_line(tmp_path):
    with pytest.raises(CompSRTError):
        open_input(tmp_path / "a\0b", "weights")
    with pytest.raises(CompSRTError):
        open_input(tmp_path / ("a" * 5000), "weights")


@pytest.mark.parametrize("version", ["2.1.2", "2.5.1+cu121", "1.13.0a0"])
def test_no_pickle_is_read_by_a_torch_that_may_run_it(version, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(CompSRTError, match=r"net\.pth .* may run code in it .*; allowed: torch 2\.6 or newer"):
        check_torch("net.pth")


@pytest.mark.parametrize("version", ["2.6.0", "2.10.0+cpu", "2.13.0", "3.0.0"])
def test_a_torch_that_reads_pickles_safely_is_taken(version, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    check_torch("net.pth")
