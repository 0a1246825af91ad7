"""Files appear whole or not at all; a cache that cannot be written costs one warning."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from compsrt_plugin.files import UnwritableError, atomic_file, cache_root, folder_bytes, write_whole


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
        with pytest.raises(UnwritableError, match=r"cannot write .*bin: .*; free some"), atomic_file(path) as file:
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(UnwritableError, match="cannot write"), atomic_file(tmp_path / "folder" / "file.bin"):
        pass


def test_a_name_that_is_a_folder_is_one_line(tmp_path):
    (tmp_path / "name").mkdir()
    expected = pytest.raises(UnwritableError, match=r"cannot write .*; ask the administrator")
    with expected, atomic_file(tmp_path / "name", hint="ask the administrator") as file:
        file.write(b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["name"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_others_may_read_the_file_as_they_may_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_file(tmp_path / "ours") as file:
        file.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_what_is_no_name_of_a_file_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnwritableError, match="cannot write"):
        write_whole(name, b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sync", [True, False])
def test_bytes_are_written_whole_and_over_an_older_file(tmp_path, sync):
    path = tmp_path / "file.bin"
    for content in (b"older and longer", b"new"):
        write_whole(path, content, sync=sync)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    write_whole(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_the_cache_is_where_the_variables_say(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMPSRT_CACHE", "~/ours")
    assert cache_root() == tmp_path / "home" / "ours"
    monkeypatch.delenv("COMPSRT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "compsrt_plugin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == tmp_path / "home" / ".cache" / "compsrt_plugin"


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path, monkeypatch, basicsr_log):
    (tmp_path / "file").touch()
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "file" / "cache"))
    first, second = cache_root(), cache_root()
    assert first == second
    write_whole(first / "file.bin", b"x")
    (warning,) = basicsr_log.messages
    assert "cannot write" in warning and "set COMPSRT_CACHE" in warning


def test_folder_bytes_count_files_and_links_and_no_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "five").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "five")
    assert folder_bytes(tmp_path) == 5 + (tmp_path / "link").lstat().st_size


def test_folder_bytes_outlast_a_file_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stays").write_bytes(b"123")
    (tmp_path / "goes").write_bytes(b"12345")
    lstat = Path.lstat

    def lstat_too_late(path: Path) -> os.stat_result:
        if path.name == "goes":
            path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", lstat_too_late)
    assert folder_bytes(tmp_path) == 3
