from __future__ import annotations

import math
import re

import pytest

from compsrt_plugin.report import FLOAT_BITS, Score, markdown_table, results_text, write_markdown
from compsrt_plugin.report.results_table import TERMINAL_WIDTH, format_bytes, format_psnr


def cells(line):
    return re.split(r"\s{2,}", line.strip())


def test_a_row_shows_every_method_and_the_difference_to_the_teacher(results):
    row = next(line for line in results_text(results).splitlines() if line.startswith("Set5"))

    assert cells(row) == [
        "Set5", "2", "28.50 / 0.8100", "32.50 / 0.9050", "31.75 / 0.8900", "-0.75 / -0.0150",
    ]  # fmt: skip


def test_the_footer_says_what_one_must_know_to_read_the_numbers(results):
    table = results_text(results)

    for fact in (
        "bits     3-bit",
        "at most 8 used, 3 bits hold 8 (in 2 quantizers)",
        "612,345 bytes on disk, 16.5% of the float file (3,718,512 bytes, 6.07x)",
        "compsrt, strict codes, weights frozen",
        "padding  reflect",
        "PSNR (dB) / SSIM on the Y channel, 4 px border left out",
    ):
        assert fact in table


def test_a_network_without_quantizers_is_called_by_its_name(make_results):
    results = make_results(bits=FLOAT_BITS, recipe="none", distinct_codes={}, bytes=4_123_456)

    for table in (results_text(results), markdown_table(results)):
        assert "full precision" in table and "4,123,456 bytes on disk" in table
        for wrong in ("quantized", "difference", "codes", "4294967296", "32-bit", "recipe", "of the float file"):
            assert wrong not in table
    row = next(line for line in results_text(results).splitlines() if line.startswith("Set5"))
    assert cells(row) == ["Set5", "2", "28.50 / 0.8100", "31.75 / 0.8900"]


def test_trained_weights_are_called_trained(make_results):
    assert "weights trained" in results_text(make_results(weights_trained=True))


def test_unlimited_codes_are_never_sold_as_three_bits(make_results):
    results = make_results(name="run", codes="paper", recipe="compsrt-paper", distinct_codes={"q": 24, "k": 8})

    for table in (results_text(results), markdown_table(results)):
        assert "nominal 3-bit, up to 24 codes" in table
        assert not re.search(r"(?<!nominal )3-bit", table)
        assert "more than their bits hold in 1 quantizer" in table


def test_wider_quantizers_are_told_apart_in_the_footer(make_results):
    table = results_text(make_results(distinct_codes={"q": 8, "conv": 200}, other_bits={"conv": 8}))

    assert "3-bit, 1 quantizer at 8-bit" in table
    assert "at most 8 used, 3 bits hold 8 (in 1 quantizer); besides, 1 of 8 bits" in table


def test_columns_are_aligned_and_nothing_is_wider_than_the_terminal(make_results):
    results = make_results(name="a run with a long name " * 9, padding="a long word " * 20)
    results.add_image("a data set with a name that is far too long for its column", "a", quantized=Score(30.0, 0.9))

    lines = results_text(results).splitlines()

    assert max(map(len, lines)) <= TERMINAL_WIDTH
    first_rule, last_rule = (i for i, line in enumerate(lines) if set(line) == {"-"})
    assert len({len(line) for line in lines[first_rule - 1 : last_rule + 1]}) == 1
    assert any("a data set with" in line and "..." in line for line in lines)


def test_a_terminal_without_unicode_can_show_the_table(results):
    assert results_text(results).isascii()


def test_a_method_that_was_not_run_and_a_metric_that_was_not_taken_leave_a_gap(make_results):
    results = make_results(datasets={})
    results.datasets.clear()
    results.add_image("demo", "cat", quantized=Score(30.0))

    row = next(line for line in results_text(results).splitlines() if line.startswith("demo"))

    assert cells(row) == ["demo", "1", "-", "-", "30.00", "-"]


@pytest.mark.parametrize(
    ("quantized", "teacher", "shown"),
    [
        (Score(math.inf, 1.0), Score(math.inf, 1.0), "+0.00 / +0.0000"),
        (Score(math.inf, 1.0), Score(30.0, 0.9), "+inf / +0.1000"),
        (Score(30.0, 0.9), Score(math.inf, 1.0), "-inf / -0.1000"),
        (Score(29.999, 0.9), Score(30.0, 0.90001), "+0.00 / +0.0000"),
    ],
)
def test_differences_read_well_at_the_edges(make_results, quantized, teacher, shown):
    results = make_results()
    results.add_image("demo", "cat", quantized=quantized, teacher=teacher)

    assert results_text(results).splitlines()[5].endswith(shown)


def test_a_run_over_no_data_set_says_so(make_results):
    results = make_results()
    results.datasets.clear()

    assert "no data set was tested" in results_text(results)
    assert "no data set was tested" in markdown_table(results)


def test_markdown_holds_what_the_text_holds(results, tmp_path):
    write_markdown(results, tmp_path / "results.md")

    markdown = (tmp_path / "results.md").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    for line in results_text(results).splitlines():
        for cell in cells(line):
            assert cell in markdown or set(cell) <= {"-"}


def test_markdown_keeps_its_columns_whatever_the_name(results):
    results.add_image("a|b", "cat", quantized=Score(30.0))

    assert r"| a\|b | 1 |" in markdown_table(results)


def test_metrics_that_differ_in_their_settings_are_told_apart(make_results):
    metrics = {"psnr": {"test_y_channel": True, "crop_border": 4}, "niqe": {"crop_border": 0}}

    table = results_text(make_results(metrics=metrics))

    assert "PSNR (dB) on the Y channel, 4 px border left out; niqe on RGB, 0 px border left out" in table


@pytest.mark.parametrize(
    ("count", "shown"), [(999, "999 B"), (1000, "1 kB"), (612_345, "612 kB"), (999_600, "1.00 MB")]
)
def test_sizes_are_told_in_the_unit_that_suits_them(count, shown):
    assert format_bytes(count) == shown


def test_psnr_is_rounded_only_for_display():
    assert (format_psnr(31.90499), format_psnr(math.inf)) == ("31.90", "inf")
