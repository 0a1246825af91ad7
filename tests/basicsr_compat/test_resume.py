"""A run goes on from its newest sound state, on any device, and nothing that a state holds is run."""

from __future__ import annotations

import collections
import random
from pathlib import Path

import pytest
import torch

import compsrt_plugin
from basicsr_compat.test_repairs import pristine
from compsrt_plugin import basicsr_compat
from compsrt_plugin.basicsr_compat import resume
from compsrt_plugin.errors import CompSRTError


@pytest.fixture(scope="module", autouse=True)
def repaired_basicsr() -> None:
    basicsr_compat.apply()
    compsrt_plugin.register()


def resume_options(folder: Path, **path: str) -> dict:
    paths = {"training_states": str(folder), "models": str(folder), **path}
    return {"auto_resume": not path, "model_type": "CompSRTModel", "path": paths}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the fault is on machines without CUDA")
def test_a_run_resumes_on_the_cpu_from_its_newest_state(tmp_path: Path) -> None:
    from basicsr import train

    for iteration in (9, 10):
        state = {"epoch": 1, "iter": iteration, "schedulers": [{"milestones": collections.Counter([5])}]}
        torch.save({**state, "optimizers": [{"exp_avg": torch.ones(2)}]}, tmp_path / f"{iteration}.state")
    options = resume_options(tmp_path, resume_state=str(tmp_path / "10.state"))
    with pytest.raises((AssertionError, RuntimeError)):
        pristine("basicsr.train").load_resume_state({**options, "path": dict(options["path"])})
    state = train.load_resume_state(resume_options(tmp_path))
    assert state is not None
    assert state["iter"] == 10
    assert state["optimizers"][0]["exp_avg"].device.type == "cpu"


def test_without_a_state_a_run_starts_afresh(tmp_path: Path) -> None:
    assert resume.load_resume_state(resume_options(tmp_path)) is None


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_state_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "1.state"
    torch.save({"iter": 1, "trap": Touch(tmp_path / "sprung")}, path)
    with pytest.raises(CompSRTError, match=r"1\.state holds more than tensors and plain values, and is not loaded"):
        resume.load_resume_state(resume_options(tmp_path, resume_state=str(path)))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", None], ids=["empty", "cut off", "missing"])
def test_a_state_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "1.state"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompSRTError, match=r"path\.resume_state.*1\.state") as error:
        resume.load_resume_state(resume_options(tmp_path, resume_state=str(path)))
    assert "\n" not in str(error.value)


@pytest.fixture
def two_states(tmp_path: Path) -> list[Path]:
    """Two good states, 2.state and 4.state."""
    paths = [tmp_path / f"{iteration}.state" for iteration in (2, 4)]
    for iteration, path in zip((2, 4), paths):
        torch.save({"iter": iteration, "self_contained": True, "network": torch.full((500,), 1.0)}, path)
    return paths


def flip_a_bit(content: bytes) -> bytes:
    """Change a number of the network: torch.load reads on without a word."""
    place = content.index(torch.full((500,), 1.0).numpy().tobytes()) + 100
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "one bit": flip_a_bit,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_newest_state_is_damaged_the_one_before_it_is_taken_and_both_are_named(
    damage: str, two_states: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, newest = two_states
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    options = resume_options(tmp_path)
    state = resume.load_resume_state(options)
    assert state is not None and (state["iter"], options["resume_iter"]) == (2, 2)
    assert options["path"]["resume_state"] == str(before)
    assert f"{newest} cannot be read" in caplog.text and f"resuming from the state before it, {before}" in caplog.text


def test_where_all_states_are_damaged_the_newest_is_named(two_states: list[Path], tmp_path: Path) -> None:
    for path in two_states:
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CompSRTError, match=r"4\.state cannot be read .*, nor can any before it; start again") as error:
        resume.load_resume_state(resume_options(tmp_path))
    assert "\n" not in str(error.value)


def test_no_damage_passes_for_another_state(two_states: list[Path], tmp_path: Path) -> None:
    path, generator = two_states[1], random.Random(0)
    content = path.read_bytes()
    for _ in range(200):
        place = generator.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :])
        state = resume.load_resume_state(resume_options(tmp_path))
        assert state is not None
        assert state["iter"] == 2 or torch.equal(state["network"], torch.full((500,), 1.0))


def test_a_run_that_goes_on_from_anothers_state_has_its_folders(two_states: list[Path], tmp_path: Path) -> None:
    options = resume_options(tmp_path, resume_state=str(two_states[0]))
    options["path"] |= {"experiments_root": str(tmp_path / "new"), "models": str(tmp_path / "new" / "models")}
    assert resume.load_resume_state(options) is not None
    assert (tmp_path / "new" / "models").is_dir()


def test_another_model_does_not_go_on_from_a_state_of_ours(two_states: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CompSRTError, match=r"4\.state is not of a SRModel; resume with the option file"):
        resume.load_resume_state({**resume_options(tmp_path), "model_type": "SRModel"})


def test_a_network_that_basicsr_saved_beside_its_state_has_to_be_there(tmp_path: Path) -> None:
    torch.save({"iter": 5, "epoch": 0}, tmp_path / "5.state")
    options = {**resume_options(tmp_path), "model_type": "SRModel", "network_g": {}}
    with pytest.raises(CompSRTError, match=r"5\.state needs .*net_g_5\.pth, which is not there"):
        resume.load_resume_state(options)
    torch.save({}, tmp_path / "net_g_5.pth")
    assert resume.load_resume_state(options) is not None


@pytest.mark.parametrize("content", [[1], {"epoch": 1}, {"iter": "two"}], ids=["list", "no iter", "iter is text"])
def test_what_is_no_training_state_is_named(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "1.state")
    with pytest.raises(CompSRTError, match=r"1\.state is not a training state"):
        resume.load_resume_state(resume_options(tmp_path, resume_state=str(tmp_path / "1.state")))
