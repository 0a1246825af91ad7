"""YAML is read as data; every fault is one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from compsrt_plugin.config.reader import read_option_file, read_yaml
from compsrt_plugin.errors import CompSRTError


def test_options_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("name: a\nval: {z: 1, a: 2}\ndatasets: {}\n")
    options = read_option_file(path)
    assert list(options) == ["name", "val", "datasets"]
    assert list(options["val"]) == ["z", "a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1.5e3", 1500.0), ("!!float 1e-2", 0.01), ("3", 3), ("x4", "x4"), ("1e", "1e"), ("~", None)],
)
def test_numbers_mean_what_their_writer_means(text: str, value: object) -> None:
    read = read_yaml(text, "test")
    assert read == value
    assert type(read) is type(value)


def test_merge_keys_may_be_overridden() -> None:
    assert read_yaml("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}", "test")["mine"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [1, 2\nscale: 4\n", r"line 2, column 6: .*expected"),
        ("a: 1\nname: 'open\n", r"line 3, column 1: .*unexpected end"),
        ("a:\tb\n\t- c: d", r"line 1, column 3: .*'\\t'"),
        (
            "name: a\nx: !!python/object/apply:os.system ['touch sprung']",
            r"line 2, column 4: the tag 'python/obj.*code",
        ),
        ("x: !Custom 1", r"line 1, column 4: the tag '!Custom' is not allowed"),
        ("quant: {bits: 3, bits: 4}", r"line 1, column 18: the key 'bits' occurs twice"),
        ("name: a\nname: b\n", r"line 2, column 1: the key 'name' occurs twice"),
        ("3: a", r"line 1, column 1: the key 3 is not text"),
        ("x: !!int abc", r"not YAML"),
        ("x: \x07", r"not YAML"),
        ("", r"holds nothing"),
        ("- a\n- b", r"holds a list"),
    ],
    ids=[
        "bracket",
        "quote",
        "tab",
        "python tag",
        "own tag",
        "twice in a block",
        "twice at the top",
        "number as key",
        "wrong number",
        "control character",
        "empty",
        "list",
    ],
)
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(CompSRTError, match=says) as error:
        read_option_file(path)
    assert "bad.yml" in str(error.value)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.yml"], "no code of the file has run"


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(CompSRTError, match="not UTF-8"):
        read_option_file(path)
