"""A file is of the format that its first bytes tell."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from compsrt_plugin.data.formats.kinds import ENDINGS, FORMATS, format_of, format_of_file


@pytest.mark.parametrize("kind", ENDINGS)
def test_what_pillow_writes_is_known(kind: str, tmp_path: Path):
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, kind)
    assert format_of(file.getvalue()) == kind == FORMATS[ENDINGS[kind]]
    (tmp_path / "p.xyz").write_bytes(file.getvalue())
    assert format_of_file(tmp_path / "p.xyz") == kind


@pytest.mark.parametrize("content", [b"", b"\x89PN", b"GIF89a", b"BM", b"RIFF\0\0\0\0AVI ", b"II*", b"<html>"])
def test_what_is_none_of_them_is_not(content: bytes):
    assert format_of(content) is None


def test_a_pipe_a_folder_and_nothing_are_none(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert [format_of_file(tmp_path / name) for name in ("pipe", "", "none")] == [None] * 3
