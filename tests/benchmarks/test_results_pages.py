"""docs/results.md, docs/zoo.md and README.md match the result files, which are of today's bundled networks."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from statistics import fmean

import pages
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import make_results  # noqa: E402
import results_tables  # noqa: E402

from compsrt_plugin.errors import CompSRTError  # noqa: E402
from compsrt_plugin.report.results import Results  # noqa: E402


@pytest.fixture(scope="module")
def found() -> make_results.Found:
    return make_results.Found(make_results.FOLDER)


@pytest.mark.parametrize("page", make_results.PAGES, ids=lambda page: page.name)
def test_a_page_is_in_step_with_the_result_files(page: Path, found: make_results.Found):
    text = page.read_text(encoding="utf-8")
    assert make_results.filled(text, found) == text


def test_the_worst_crops_are_shown_and_small():
    images = [pages.DOCS / target for target in pages.links(pages.read("docs/results.md")) if target.endswith(".png")]
    assert len(images) == 3
    assert max(image.stat().st_size for image in images) <= 200_000


def test_the_zoo_has_every_bundled_network_with_its_time(found: make_results.Found):
    page = pages.read("docs/zoo.md")
    for name, results in found.bundled.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |") and " / " in line]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert f"{results.bytes:,}" in cells and cells[-1].isdigit()
        assert results_tables.absolute(results.datasets["Set5"].mean.quantized) in cells


def test_a_changed_figure_puts_a_page_out_of_step(found: make_results.Found):
    page = make_results.filled("<!-- begin swinir-light-x4 -->\n<!-- end swinir-light-x4 -->", found)
    assert "| `compsrt_x4_3bit` | 30.40 / 0.8581 |" in page
    changed = page.replace("30.40 / 0.8581", "30.41 / 0.8581")
    assert make_results.filled(changed, found) == page


def test_every_bundled_network_at_x4_is_judged_on_every_benchmark(found: make_results.Found):
    networks = [*found.of(4), *found.of(4, make_results.DAT)]
    assert [results.bits for results in networks] == [2, 3, 4, 3, 4]
    for results in networks:
        counts = {name: len(scores.per_image) for name, scores in results.datasets.items()}
        assert counts == {"Demo": 4, "Set5": 5, "Set14": 14, "B100": 100}


def test_the_loss_of_no_bundled_network_grows_with_the_image(found: make_results.Found):
    measured = {one["name"]: one for one in found.sizes}
    assert measured.keys() == found.bundled.keys()
    for name, one in measured.items():
        whole, pieces = (fmean(results_tables.size_differences(one, how)) for how in ("whole", "pieces"))
        assert whole > pieces - 0.06, name  # dB; 0.09 to 0.3 with bounds that fitted one size


def test_results_say_how_they_were_made_and_no_more_of_the_machine(found: make_results.Found):
    for results in found.all:
        assert {"command", "date", "runner", "calibration"} <= results.extra.keys()
        assert results.versions.keys() == {"python", "torch", "basicsr", "compsrt_plugin"}
        assert all("/" not in record.path for record in results.files.values())
        assert results.codes == "paper" or not results.over_limit


def test_a_result_of_another_file_than_the_bundled_one_is_refused(tmp_path: Path):
    shutil.copy(make_results.FOLDER / "compsrt_x4_3bit.json", tmp_path)
    path = tmp_path / "compsrt_x4_3bit.json"
    content = json.loads(path.read_text())
    content["files"]["checkpoint"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(CompSRTError, match="compsrt_x4_3bit: the result is of another file than the bundled one"):
        make_results.Found(tmp_path)


def test_a_block_of_an_unknown_name_is_refused(found: make_results.Found):
    with pytest.raises(CompSRTError, match="no block is called 'bundeld-x4'"):
        make_results.filled("<!-- begin bundeld-x4 --><!-- end bundeld-x4 -->", found)


def test_recipes_judged_on_other_images_are_not_compared(found: make_results.Found):
    ours, other = found.bundled["compsrt_x4_3bit"], found.bundled["compsrt_x4_2bit"]
    assert len(results_tables.image_differences(ours, other, "psnr")) == 119
    less = make_results.read_results(make_results.FOLDER / "compsrt_x4_2bit.json")
    del less.datasets["Set14"].per_image["baboon.png"]
    with pytest.raises(CompSRTError, match="judged on different images of Set14"):
        results_tables.image_differences(ours, less, "psnr")


def test_a_difference_is_the_quantized_network_less_its_teacher(found: make_results.Found):
    results = found.bundled["compsrt_x4_3bit"]
    images = results.datasets["Set5"].per_image.values()
    losses = [scores.quantized.psnr - scores.teacher.psnr for scores in images if scores.teacher]
    assert results_tables.difference(results, "Set5").psnr == pytest.approx(sum(losses) / 5)


@pytest.mark.parametrize(
    ("other_bits", "cell"),
    [
        ({}, "8"),
        ({"a.attn.map": 6}, "8 (1 wider)"),
        ({"a.input": 8, "b.input": 8}, "8 (8-bit inputs)"),
        ({"a.input": 8, "b.input": 8, "a.attn.map": 8, "b.attn.map": 6}, "8 (8-bit inputs, 6-bit maps, 1 wider)"),
        ({"a.attn.map": 6, "b.attn.map": 6, "a.attn.v": 6, "conv.weight": 8}, "8 (6-bit maps, 1 wider)"),
    ],
)
def test_activations_that_are_wide_as_a_whole_are_named(other_bits: dict[str, int], cell: str):
    names = [f"{layer}.{what}" for layer in "ab" for what in ("input", "attn.map", "attn.v")]
    counted = dict.fromkeys([*names, "conv.weight"], 8)
    results = Results("run", 4, 3, 1, 6, "reflect", {}, "strict", "plus", False, counted, other_bits=other_bits)
    assert results_tables.codes_cell(results) == cell
