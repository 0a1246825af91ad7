from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save

from compsrt_plugin.checkpoint.inputs import FileKind, file_kind, open_input
from compsrt_plugin.errors import CompSRTError


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
        (b"\x89PNG\r\n\x1a\n", FileKind.PICTURE),
        (b'{"message": "Not Found"}', FileKind.TEXT),
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
    with pytest.raises(CompSRTError, match="is no file"):
        open_input(tmp_path, "weights")
    if os.path.exists("/dev/zero"):
        from pathlib import Path

        with pytest.raises(CompSRTError, match="is no file"):
            open_input(Path("/dev/zero"), "weights")


def test_a_path_no_system_can_have_is_one_line(tmp_path):
    with pytest.raises(CompSRTError):
        open_input(tmp_path / "a\0b", "weights")
    with pytest.raises(CompSRTError):
        open_input(tmp_path / ("a" * 5000), "weights")
