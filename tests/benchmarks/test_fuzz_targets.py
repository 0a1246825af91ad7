"""What the fuzzer feeds ends well on its corpus, and notices a reader that does not; atheris is not needed for that."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compsrt_plugin.errors import CompSRTError

FUZZ = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz"
CORPUS = sorted(path.relative_to(FUZZ / "corpus") for path in (FUZZ / "corpus").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def targets() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz_targets", FUZZ / "targets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_corpus_for_every_target_and_it_is_small(targets: Any):
    assert {path.parts[0] for path in CORPUS} == set(targets.TARGETS)
    assert sum((FUZZ / "corpus" / path).stat().st_size for path in CORPUS) < 100_000


@pytest.mark.parametrize("path", CORPUS, ids=str)
def test_the_corpus_and_pieces_of_it_end_well(targets: Any, path: Path):
    content = (FUZZ / "corpus" / path).read_bytes()
    for length in {len(content), len(content) // 2, 9, 1, 0}:
        targets.TARGETS[path.parts[0]](content[:length])


READERS = {"packed": "read_packed", "weights": "load_weights", "options": "read_option_file"}


@pytest.mark.parametrize("error", [KeyError("case"), RecursionError(), CompSRTError("a" * 5000)], ids=repr)
@pytest.mark.parametrize("name", READERS)
def test_a_reader_that_fails_otherwise_is_noticed(
    targets: Any, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(targets, READERS[name], fail)
    with pytest.raises((type(error), AssertionError)) as caught:
        targets.TARGETS[name](b"r")
    assert not isinstance(caught.value, CompSRTError)


@pytest.mark.parametrize(
    ("environment", "code"), [({}, 0), ({"COMPSRT_COMPILED": "required"}, 1)], ids=["at home", "in CI"]
)
def test_without_atheris_it_is_skipped_but_not_in_ci(environment: dict[str, str], code: int, tmp_path: Path):
    hidden = "import importlib.util, runpy, sys; find = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name, *a: None if name == 'atheris' else find(name, *a)\n"
    hidden += f"sys.argv = ['run.py', '--seconds', '1']; runpy.run_path({str(FUZZ / 'run.py')!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", hidden], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and "atheris is not installed" in done.stdout
