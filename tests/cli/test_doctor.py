"""`basicsr doctor` says what is there, what is missing, and whether the main job can run."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

import compsrt_plugin
from compsrt_plugin.cli import doctor
from compsrt_plugin.cli.main import main
from compsrt_plugin.config.files import option_files
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.native import loading


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of one file, beside its manifest; the current folder is empty."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/net.safetensors").write_bytes(b"weights")
    path = tmp_path / "weights/manifest.json"
    path.write_text(json.dumps({"net.safetensors": {"sha256": hashlib.sha256(b"weights").hexdigest()}}))
    monkeypatch.setattr(doctor, "MANIFEST", path)
    monkeypatch.delenv("COMPSRT_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return path


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Return the report's lines by their first word."""
    by_status: dict[str, list[str]] = {"ok": [], "warn": [], "FAIL": []}
    for line in capsys.readouterr().out.splitlines():
        by_status[line.split()[0]].append(line)
    return by_status


def test_a_sound_installation_can_run_the_main_job(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    found = lines(capsys)
    assert found["FAIL"] == []
    assert len([line for line in found["warn"] if "not looked for" in line]) == 5, "no benchmark is there"
    report = "\n".join(found["ok"])
    for part in ("Python", "torch", "torchvision", "BasicSR       1.4.2 at ", "repair", "device", "results"):
        assert part in report
    assert f"{len(option_files('test'))} for basicsr test" in report
    assert "net.safetensors, 7 bytes" in report
    assert list(Path.cwd().iterdir()) == []


def test_it_says_how_the_compiled_library_runs(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    report = capsys.readouterr().out
    assert re.search(r"C\+\+ library +(built, [a-z0-9]+ instructions|not built: calibration takes )", report)


def test_a_library_that_is_missing_is_warned_of_with_its_cost_and_the_way_to_build_it(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "library", lambda: None)
    assert main(["doctor"]) == 0
    line = lines(capsys)["warn"][0]
    assert "C++ library" in line and "1.6 times as long" in line and "ten times as long" in line
    assert "C++ compiler" in line


def test_an_extra_that_is_missing_is_named_with_its_use(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"onnx": (("onnx", "no_such_package"), "basicsr export --onnx")})
    assert main(["doctor"]) == 0
    (line,) = [line for line in lines(capsys)["warn"] if "extra" in line]
    assert line == "warn extra onnx    not installed, basicsr export --onnx needs it: pip install no_such_package"


def test_it_knows_every_extra_that_setup_has() -> None:
    setup = (Path(__file__).resolve().parents[2] / "setup.py").read_text(encoding="utf-8")
    block = setup.partition("extras_require={")[2].partition("}")[0]
    host = "basicsr"  # has a check of its own
    assert set(re.findall(r'^ +"(\w+)":', block, re.MULTILINE)) == {host, *doctor.EXTRAS}
    for packages, _ in doctor.EXTRAS.values():
        assert all(f'"{name}' in setup for name in packages)


def test_it_says_where_the_cache_is_and_how_large(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COMPSRT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pair.png").write_bytes(bytes(2_500_000))
    main(["doctor"])
    assert f"cache         2.5 MB in {tmp_path / 'cache'}; it may be deleted" in "\n".join(lines(capsys)["ok"])


def test_json_holds_the_same(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"status": "ok", "part": "demo"}.items() <= report["findings"][-7].items()


@pytest.mark.parametrize("fault", ["damaged", "missing", "no manifest"])
def test_a_bundled_file_that_is_not_as_it_should_be_fails(
    fault: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = manifest.parent / "net.safetensors"
    {
        "damaged": lambda: net.write_bytes(b"weighty"),
        "missing": net.unlink,
        "no manifest": manifest.unlink,
    }[fault]()
    assert main(["doctor"]) == 1
    (line,) = lines(capsys)["FAIL"]
    assert ("manifest.json" if fault == "no manifest" else fault) in line


def test_a_wrong_basicsr_fails(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise CompSRTError("the basicsr at /fork is not the BasicSR toolbox")

    monkeypatch.setattr(compsrt_plugin, "register", refuse)
    assert main(["doctor"]) == 1
    assert lines(capsys)["FAIL"] == ["FAIL BasicSR       the basicsr at /fork is not the BasicSR toolbox"]


def test_no_torch_fails_and_the_rest_is_still_looked_at(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["doctor"]) == 1
    found = lines(capsys)
    assert [line.split()[1] for line in found["FAIL"]] == ["torch"]
    assert len([line for line in found["warn"] if "not looked for" in line]) == 5


def test_a_broken_option_file_fails(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.yml").write_text("name: [")
    monkeypatch.setattr(doctor, "option_files", lambda command: {"broken": tmp_path / "broken.yml"})
    assert main(["doctor"]) == 1
    assert all("broken.yml" in line for line in lines(capsys)["FAIL"])


def test_missing_demo_pictures_fail(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "DEMO_IMAGES", ("astronaut.png", "none_such.png"))
    assert main(["doctor"]) == 1
    assert "has no none_such.png" in lines(capsys)["FAIL"][0]


def test_benchmarks_are_counted_where_they_lie(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, scales in (("Set5", (2, 3, 4)), ("Set14", (4,))):
        for folder in ("HR", *(f"LR_bicubic/X{scale}" for scale in scales)):
            (tmp_path / name / folder).mkdir(parents=True)
            (tmp_path / name / folder / "a.PNG").touch()
            (tmp_path / name / folder / "notes.txt").touch()
    (tmp_path / "B100/HR").mkdir(parents=True)
    for picture in ("a.png", "b.png"):
        (tmp_path / "B100/HR" / picture).touch()
    (tmp_path / "B100/LR_bicubic/X4").mkdir(parents=True)
    (tmp_path / "B100/LR_bicubic/X4/ax4.png").touch()
    monkeypatch.setenv("COMPSRT_DATA", str(tmp_path))
    main(["doctor"])
    report = lines(capsys)
    assert any("Set5          1 HR, 1 LR x2, 1 LR x3, 1 LR x4" in line for line in report["ok"])
    assert any("Set14" in line and "no LR x2" in line and "made when needed" in line for line in report["ok"])
    assert any("B100" in line and "basicsr prepare --hr" in line for line in report["warn"])
    assert any(f"belong in {tmp_path / 'Urban100' / 'HR'}" in line for line in report["warn"])
