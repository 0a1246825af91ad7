"""Everything that docs/differences.md shows runs, the trainings on a small network and a few pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pages
import pytest
import yaml
from models import tiny_run

from compsrt_plugin.cli.main import main

CODES, BETA, CHECKPOINTS, THRESHOLD = pages.sections(pages.read("docs/differences.md")).values()


def printed(section: str) -> list[str]:
    """Return what the section says is printed."""
    return pages.blocks(section, "text")


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", text)


def small(arguments: list[str], *entries: str) -> list[str]:
    """Return a command of the page with the small run's option file, a short schedule, and further entries."""
    options = tiny_run.options(Path.cwd())
    if arguments[0] == "test":
        options["datasets"] = {"test_1": {**options["datasets"]["val"], "subset": None}}
        for block in ("train", "logger"):
            del options[block]
        del options["val"]["val_freq"]
        options["path"] = {"pretrain_network_teacher": options["path"]["pretrain_network_g"]}
    Path("small.yml").write_text(yaml.safe_dump(options))
    found = [*arguments, *entries]
    found[found.index("-opt") + 1] = "small.yml"
    return [word for word in found if word not in ("--preset", "quick")]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_logger: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    tiny_run.write_inputs(tmp_path)


def test_the_published_mode_uses_more_codes_than_its_bits_hold(inputs: None, capsys: pytest.CaptureFixture[str]):
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
    inputs: None, basicsr_log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
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
