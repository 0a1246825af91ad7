from __future__ import annotations

import sys

import pytest

from compsrt_plugin.checkpoint.atomic import atomic_file
from compsrt_plugin.errors import CompSRTError


def test_a_file_appears_in_folders_that_did_not_exist(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_there_stays_when_the_writer_fails(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_file(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "file.bin"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CompSRTError, match=r"cannot write .*bin: .*; free some space"), atomic_file(path) as file:
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(CompSRTError, match="cannot write"), atomic_file(tmp_path / "folder" / "file.bin"):
        pass


def test_a_name_that_is_a_folder_is_one_line(tmp_path):
    (tmp_path / "name").mkdir()
    expected = pytest.raises(CompSRTError, match=r"cannot write .*; ask the administrator")
    with expected, atomic_file(tmp_path / "name", hint="ask the administrator") as file:
        file.write(b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_others_may_read_the_file_as_they_may_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_file(tmp_path / "ours") as file:
        file.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
