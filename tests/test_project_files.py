"""What SECURITY.md, CITATION.cff and NOTICE say is what the code does and the package holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

import compsrt_plugin
from compsrt_plugin import pythons

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for folder in ("compsrt_plugin", "archs") for path in sorted((ROOT / folder).rglob("*.py"))]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield each call in the package with the text of what is called."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node


def test_no_reader_of_the_package_can_execute_what_it_reads() -> None:
    loads = {"torch.load": 0, "yaml.load": 0}
    for name, call in calls():
        assert name not in {"eval", "exec", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads"}, name
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load":
            assert given["weights_only"] == "True"
        elif name == "yaml.load":
            assert given["Loader"] == "OptionLoader"
        elif name in {"np.load", "numpy.load"}:
            assert given.get("allow_pickle", "False") == "False"
        if name in loads:
            loads[name] += 1
    assert all(loads.values()), loads


def test_setup_citation_changelog_and_package_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    version, released = str(citation["version"]), citation["date-released"]
    assert f"## {version} ({released})" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert compsrt_plugin.__version__ == version
    assert re.search(r'^    version="(.+)",$', setup, re.MULTILINE)[1] == version  # pyright: ignore
    assert re.search(r'^    license="(.+)",$', setup, re.MULTILINE)[1] == citation["license"]  # pyright: ignore


def test_the_notice_covers_every_bundled_file() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    names = {path.name for path in (ROOT / "compsrt_plugin" / "weights").glob("*.safetensors")}
    told = {
        "three SwinIR-light teachers": r"swinir_light_x\d_teacher.*",
        "nine quantized networks": r"compsrt_x\d_\dbit.*",
        "six DAT-light networks": r"dat_light_x\d_\dbit.*",
    }
    found = {words: {name for name in names if re.fullmatch(form, name)} for words, form in told.items()}
    assert [len(members) for members in found.values()] == [3, 9, 6]
    assert all(words in notice for words in told)
    assert names == set.union(*found.values())


def test_the_workflows_install_every_python_that_is_supported() -> None:
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    tried = set(jobs["install"]["strategy"]["matrix"]["python"])
    tried |= {
        step["with"]["python-version"] for step in jobs["suite"]["steps"] if "python-version" in step.get("with", {})
    }
    assert tried == {f"3.{minor}" for minor in range(pythons.OLDEST, pythons.NEWEST + 1)}
    wheels = re.search(r'^build = "cp31\{(.*)\}-\*"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert wheels is not None
    assert wheels[1].split(",") == [str(minor - 10) for minor in range(pythons.OLDEST, pythons.NEWEST + 1)]
