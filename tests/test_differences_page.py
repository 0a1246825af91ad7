"""Everything that docs/differences.md shows runs, the trainings on a small network and a few pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from models import tiny_run

from compsrt_plugin.cli.main import main

PAGE = (Path(__file__).parents[1] / "docs" / "differences.md").read_text(encoding="utf-8")
SECTIONS = dict(zip(re.findall(r"^## (.*)$", PAGE, re.MULTILINE), re.split(r"^## .*$", PAGE, flags=re.MULTILINE)[1:]))
CODES, BETA, CHECKPOINTS, THRESHOLD = SECTIONS.values()


def commands(section: str) -> list[list[str]]:
    """Return the arguments of each `basicsr` command in a section."""
    blocks = re.findall(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("basicsr ")]


def examples(section: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def printed(section: str) -> list[str]:
    """Return what the section says is printed."""
    return re.findall(r"```text\n(.*?)```", section, re.DOTALL)


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "N", text)


def run(example: str) -> None:
    exec(compile(example, "differences.md", "exec"), {})


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
    training, testing = commands(CODES)
    assert main(small(training, "train:optim_g:lr=3e-3")) == 0
    assert main(small(testing)) == 0
    told = capsys.readouterr().out
    most = int(re.search(r"codes +at most (\d+) used, 2 bits hold 4", told)[1])  # type: ignore[index]
    assert most > 4
    assert f"nominal 2-bit, up to {most} codes" in told
    assert "more than their bits hold in" in told
    assert "compsrt-paper, paper codes" in told  # as the packed file says, whatever recipe the option file names


def test_beta_has_no_gradient_in_the_published_mode(capsys: pytest.CaptureFixture[str]):
    (example,) = examples(BETA)
    run(example)
    assert [capsys.readouterr().out] == printed(BETA)


def test_a_choice_by_a_test_set_is_warned_of_and_the_file_says_what_chose_it(
    inputs: None, basicsr_log: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    (training,), (example,) = commands(CHECKPOINTS), examples(CHECKPOINTS)
    assert main(small(training)) == 0
    assert printed(CHECKPOINTS)[0].strip() in basicsr_log.text
    capsys.readouterr()
    run(example)
    assert "'by': 'holdout PSNR'" in capsys.readouterr().out


def test_the_published_threshold_changes_at_every_pass_and_ours_does_not(capsys: pytest.CaptureFixture[str]):
    theirs, ours = examples(THRESHOLD)
    run(theirs)
    told = capsys.readouterr().out
    assert without_numbers(told) == without_numbers(printed(THRESHOLD)[0])
    changed, kept = re.match(r"(\d+) weights.*\n([\d.]+)% of", told).groups()  # type: ignore[union-attr]
    assert int(changed) > 0
    assert float(kept) > 62
    run(ours)
    assert capsys.readouterr().out == printed(THRESHOLD)[1]
