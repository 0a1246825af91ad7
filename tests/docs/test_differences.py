"""Everything that docs/differences.md shows runs, the trainings on a small network and a few pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pages
import pytest
from small_run import small

from compsrt_plugin.cli.main import main

CODES, BETA, CHECKPOINTS, THRESHOLD = pages.sections(pages.read("docs/differences.md")).values()


def printed(section: str) -> list[str]:
    """Return what the section says is printed."""
    return pages.blocks(section, "text")


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", text)


def test_the_published_mode_uses_more_codes_than_its_bits_hold(inputs: Path, capsys: pytest.CaptureFixture[str]):
    training, testing = pages.commands(CODES)
    assert main(small(training, "train:optim_g:lr=3e-3")) == 0
    assert main(small(testing)) == 0
    told = capsys.readouterr().out
    most = int(re.search(r"codes +at most (\d+) used, 2 bits hold 4", told)[1])  # type: ignore[index]
    assert most > 4
    assert f"nominal 2-bit, up to {most} codes" in told
    assert "more than their bits hold in" in told
    assert "compsrt-paper, paper codes" in told  # as the packed file says, whatever recipe the option file names


def test_beta_has_no_gradient_in_the_published_mode(capsys: pytest.CaptureFixture[str]):
    (example,) = pages.blocks(BETA, "python")
    pages.run(example)
    assert [capsys.readouterr().out] == printed(BETA)


def test_a_choice_by_a_test_set_is_warned_of_and_the_file_says_what_chose_it(
    inputs: Path, basicsr_log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    (training,), (example,) = pages.commands(CHECKPOINTS), pages.blocks(CHECKPOINTS, "python")
    assert main(small(training)) == 0
    assert printed(CHECKPOINTS)[0].strip() in basicsr_log.text
    capsys.readouterr()
    pages.run(example)
    assert "'by': 'holdout PSNR'" in capsys.readouterr().out


def test_the_published_threshold_changes_at_every_pass_and_ours_does_not(capsys: pytest.CaptureFixture[str]):
    theirs, ours = pages.blocks(THRESHOLD, "python")
    pages.run(theirs)
    told = capsys.readouterr().out
    assert without_numbers(told) == without_numbers(printed(THRESHOLD)[0])
    changed, kept = re.match(r"(\d+) weights.*\n([\d.]+)% of", told).groups()  # type: ignore[union-attr]
    assert int(changed) > 0
    assert float(kept) > 62
    pages.run(ours)
    assert capsys.readouterr().out == printed(THRESHOLD)[1]
