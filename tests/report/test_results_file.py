from __future__ import annotations

import json
import math
import os

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.report import Score, read_results, write_results


@pytest.fixture
def written(results, tmp_path):
    path = tmp_path / "results.json"
    write_results(results, path)
    return path


def spoil(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_what_is_written_is_read_back_the_same(make_results, tmp_path):
    results = make_results(extra={"seconds": 41.5}, other_bits={"conv": 8})
    results.add_image("demo", "perfect", quantized=Score(math.inf, 1.0))
    results.add_image("psnr only", "cat", quantized=Score(1 / 3), teacher=Score(2 / 3))

    write_results(results, tmp_path / "results.json")

    assert read_results(tmp_path / "results.json") == results


def test_without_indent_the_file_is_one_line_that_is_read_back_the_same(results, tmp_path):
    path = tmp_path / "results.json"
    write_results(results, path, indent=None)
    assert path.read_text().count("\n") == 1
    assert read_results(path) == results


def test_the_file_is_strict_json_with_infinity_as_a_text(results, tmp_path):
    results.add_image("demo", "perfect", quantized=Score(math.inf, 1.0))
    path = tmp_path / "results.json"
    write_results(results, path)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    data = json.loads(path.read_text(), parse_constant=refuse)
    assert data["datasets"]["demo"]["quantized"] == {"psnr": "inf", "ssim": 1.0}


def test_missing_folders_are_made_and_nothing_else_is_left_beside_the_file(results, tmp_path):
    path = tmp_path / "results" / "run" / "results.json"

    write_results(results, path)
    write_results(results, path)

    assert os.listdir(path.parent) == ["results.json"]


def test_a_write_that_fails_leaves_the_old_file_as_it_was(written, results, monkeypatch):
    before = written.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    results.add_image("demo", "cat", quantized=Score(30.0))
    with pytest.raises(CompSRTError, match="No space left on device"):
        write_results(results, written)

    assert written.read_bytes() == before
    assert os.listdir(written.parent) == ["results.json"]


def test_a_folder_that_cannot_be_made_is_one_clear_error(results, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")

    with pytest.raises(CompSRTError, match=r"cannot write .*results\.json"):
        write_results(results, tmp_path / "results" / "results.json")


def test_what_json_cannot_hold_is_refused_before_anything_is_written(make_results, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_results(make_results(extra={"loss": math.nan}), tmp_path / "results.json")

    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CompSRTError, match=r"cannot read .*nothing\.json"):
        read_results(tmp_path / "nothing.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"<html>"], ids=["empty", "half", "binary", "html"])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)

    with pytest.raises(CompSRTError, match="is not a JSON file"):
        read_results(path)


def test_a_json_file_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[1, 2]")

    with pytest.raises(CompSRTError, match=r"the file is \[1, 2\]; allowed: an object"):
        read_results(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("bits"), "bits is missing"),
        (lambda d: d.update(bits="3"), 'bits is "3"; allowed: an integer of 1 or more'),
        (lambda d: d.update(bits=True), "bits is true"),
        (lambda d: d.update(bytes=0), "bytes is 0"),
        (lambda d: d.update(name=7), "name is 7; allowed: text"),
        (lambda d: d.update(weights_trained=1), "weights_trained is 1; allowed: true or false"),
        (lambda d: d["files"]["checkpoint"].pop("sha256"), "files.checkpoint.sha256 is missing"),
        (lambda d: d["datasets"]["Set5"]["per_image"]["baby"]["teacher"].update(psnr="high"), "teacher.psnr is"),
        (lambda d: d["datasets"]["Set5"]["per_image"]["baby"].pop("quantized"), "baby.quantized is missing"),
        (lambda d: d["datasets"]["Set5"]["per_image"]["baby"].pop("teacher"), "other methods or metrics"),
        (lambda d: d["datasets"]["Set5"].update(per_image={}), "per_image is {}; allowed: at least one image"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(written, change, message):
    spoil(written, change)

    with pytest.raises(CompSRTError) as error:
        read_results(written)

    assert message in str(error.value)
    assert "results.json" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["datasets"]["Set5"].update(images=5), "datasets.Set5.images is 5; allowed: 2"),
        (lambda d: d["datasets"]["Set5"]["quantized"].update(psnr=40.0), "quantized.psnr is 40.0; allowed: 31.75"),
        (lambda d: d["datasets"]["Set5"].pop("teacher"), "teacher as mean or per image, but not both"),
        (lambda d: d.update(max_distinct_codes=24), "max_distinct_codes is 24; allowed: 8"),
        (lambda d: d.update(max_distinct_codes=None), "max_distinct_codes is null"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(written, change, message):
    spoil(written, change)

    with pytest.raises(CompSRTError) as error:
        read_results(written)

    assert message in str(error.value)
