from __future__ import annotations

import pytest

from compsrt_plugin.data.journal import FILE_NAME, Journal
from compsrt_plugin.files import UnwritableError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    Journal(tmp_path).add("a.png", [1, "source", 2])
    return tmp_path


def test_a_noted_file_is_known_to_the_next_run(folder):
    assert Journal(folder).holds("a.png", [1, "source", 2])


def test_another_source_makes_it_unknown(folder):
    assert not Journal(folder).holds("a.png", [1, "source", 3])


def test_a_file_cut_short_or_removed_is_unknown(folder):
    (folder / "a.png").write_bytes(b"1234")
    assert not Journal(folder).holds("a.png", [1, "source", 2])
    (folder / "a.png").unlink()
    assert not Journal(folder).holds("a.png", [1, "source", 2])


def test_half_a_line_left_by_a_killed_process_costs_only_itself(folder):
    with open(folder / FILE_NAME, "a") as stream:
        stream.write('{"file": "b.png", "by')
    Journal(folder).add("a.png", ["newer"])
    journal = Journal(folder)
    assert journal.holds("a.png", ["newer"])
    assert not journal.holds("b.png", [])


def test_a_journal_of_rubbish_is_an_empty_one(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b'\xff\xfe\x00[]\n{}\n3\n"a"\nnull\n')
    assert not Journal(tmp_path).holds("a.png", [])


def test_one_that_cannot_be_written_says_so(folder):
    (folder / FILE_NAME).unlink()
    (folder / FILE_NAME).mkdir()
    with pytest.raises(UnwritableError, match="cannot write"):
        Journal(folder).add("a.png", [])
