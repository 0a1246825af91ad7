from __future__ import annotations

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import container, read_packed

from . import fuzzing


def test_no_spoilt_file_crashes_hangs_or_changes_a_weight(tmp_path):
    outcome = fuzzing.fuzz(range(200), tmp_path, fuzzing.sample_files(tmp_path))
    assert outcome.failures == []
    assert sum(outcome.verdicts.values()) == 200
    assert outcome.slowest < fuzzing.SECONDS


class TwoLines(CompSRTError):
    def __str__(self):
        return "two\nlines"


@pytest.mark.parametrize("error", [KeyError, MemoryError, TwoLines])
def test_the_fuzzer_notices_a_reader_that_fails_otherwise_than_it_should(tmp_path, error):
    def read(path):
        raise error("case")

    assert len(fuzzing.fuzz(range(20), tmp_path, fuzzing.sample_files(tmp_path), read).failures) == 20


def test_the_fuzzer_notices_a_reader_that_trusts_the_seal(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "_check_seal", lambda *_: None)
    outcome = fuzzing.fuzz(range(700, 800), tmp_path, fuzzing.sample_files(tmp_path), read_packed)
    assert any("silently" in failure for failure in outcome.failures)
