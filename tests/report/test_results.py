from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from compsrt_plugin.report import FileRecord, ImageScores, Score
from compsrt_plugin.report.results import mean_score


def test_a_dataset_mean_is_the_mean_of_its_images(results):
    mean = results.datasets["Set5"].mean

    assert (mean.bicubic.psnr, mean.teacher.psnr, mean.quantized.psnr) == (28.5, 32.5, 31.75)
    assert (mean.bicubic.ssim, mean.teacher.ssim, mean.quantized.ssim) == pytest.approx((0.81, 0.905, 0.89))


def test_the_json_form_has_the_promised_shape(results):
    data = results.to_dict()

    assert list(data)[:7] == ["name", "scale", "bits", "bytes", "float_bytes", "max_distinct_codes", "datasets"]
    assert data["max_distinct_codes"] == 8
    assert data["weights_trained"] is False
    assert data["files"]["checkpoint"] == {"path": "compsrt_x4_3bit.cpsrt", "sha256": "ab" * 32, "bytes": 612_345}
    set5 = data["datasets"]["Set5"]
    assert list(set5) == ["images", "bicubic", "teacher", "quantized", "per_image"]
    assert set5["images"] == 2
    assert set5["quantized"]["psnr"] == 31.75
    assert set5["per_image"]["baby"]["teacher"] == {"psnr": 32.0, "ssim": 0.9}


def test_numbers_are_kept_in_full(results):
    results.add_image("demo", "cat", quantized=Score(1 / 3, 2 / 3), bicubic=Score(1, 1), teacher=Score(1, 1))

    assert results.to_dict()["datasets"]["demo"]["quantized"] == {"psnr": 1 / 3, "ssim": 2 / 3}


def test_metric_values_of_numpy_become_plain_floats():
    score = Score(np.float32(30.5), np.float64(0.5))  # type: ignore[arg-type]

    assert (type(score.psnr), type(score.ssim)) == (float, float)


def test_identical_pictures_have_an_infinite_psnr_and_so_has_their_mean():
    assert mean_score([Score(math.inf, 1.0), Score(30.0, 0.5)]) == Score(math.inf, 0.75)
    assert Score(math.inf).to_dict() == {"psnr": "inf"}


@pytest.mark.parametrize("values", [(math.nan,), (-math.inf,), (30.0, math.nan), (30.0, math.inf)])
def test_a_value_that_is_no_measurement_is_refused(values):
    with pytest.raises(ValueError, match=r"PSNR is|SSIM is"):
        Score(*values)


def test_the_mean_of_no_images_is_refused():
    with pytest.raises(ValueError, match="no images"):
        mean_score([])


def test_an_image_judged_twice_is_refused(results):
    with pytest.raises(ValueError, match="'baby' was judged twice"):
        results.add_image("Set5", "baby", quantized=Score(30.0))


@pytest.mark.parametrize(
    "scores",
    [
        {"quantized": Score(30.0, 0.9)},
        {"quantized": Score(30.0), "bicubic": Score(30.0), "teacher": Score(30.0)},
    ],
    ids=["method missing", "metric missing"],
)
def test_images_of_one_dataset_share_methods_and_metrics(results, scores):
    with pytest.raises(ValueError, match="other methods or metrics"):
        results.add_image("Set5", "woman", **scores)


def test_a_run_without_teacher_or_ssim_is_a_result_too():
    scores = ImageScores(quantized=Score(30.0))

    assert scores.to_dict() == {"quantized": {"psnr": 30.0}}


def test_a_strict_network_may_be_called_by_its_width(results):
    assert results.bit_label == "3-bit"
    assert results.over_limit == []


@pytest.mark.parametrize(
    ("codes", "counts", "label"),
    [
        ("paper", {"q": 24, "k": 8}, "nominal 3-bit, up to 24 codes"),
        ("strict", {"q": 9}, "nominal 3-bit, up to 9 codes"),
        ("paper", {"q": 8}, "nominal 3-bit, up to 8 codes"),
        ("paper", {}, "nominal 3-bit, codes not counted"),
        ("strict", {}, "3-bit"),
    ],
)
def test_unlimited_codes_make_the_width_nominal(make_results, codes, counts, label):
    assert make_results(codes=codes, distinct_codes=counts).bit_label == label


def test_quantizers_meant_to_be_wider_are_named_and_not_held_against_the_width(make_results):
    results = make_results(distinct_codes={"q": 8, "conv": 200, "conv2": 90}, other_bits={"conv": 8, "conv2": 8})

    assert results.bit_label == "3-bit, 2 quantizers at 8-bit"
    assert results.max_distinct_codes == 8
    assert results.over_limit == []


def test_wider_quantizers_do_not_hide_how_many_codes_the_others_use(make_results):
    results = make_results(codes="paper", distinct_codes={"q": 24, "conv": 200}, other_bits={"conv": 8})

    assert results.bit_label == "nominal 3-bit, up to 24 codes, 1 quantizer at 8-bit"


def test_codes_that_were_not_counted_have_no_maximum(make_results):
    assert make_results(distinct_codes={}).max_distinct_codes is None


def test_extra_facts_stand_at_the_top_level_but_never_replace_our_own(make_results):
    assert make_results(extra={"seconds": 41.5}).to_dict()["seconds"] == 41.5
    with pytest.raises(ValueError, match="bits"):
        make_results(extra={"bits": 2}).to_dict()


def test_a_file_record_holds_hash_and_size(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"codes" * 1_000_000)

    record = FileRecord.of(path)

    assert record == FileRecord(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 5_000_000)
