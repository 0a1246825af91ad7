"""`basicsr compare` judges all sources on the same images, and refuses those that cannot be compared."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from compsrt_plugin.cli.main import main
from compsrt_plugin.packed import bundled

from .conftest import PICTURES, Networks


def compared(*argv: str) -> dict:
    """Run the command into the folder `out` and return its figures."""
    assert main(["compare", *argv, "--out", "out"]) == 0
    return json.loads(Path("out/compare.json").read_text(encoding="utf-8"))


def scores(found: dict, entry: int) -> list[dict]:
    return [picture["scores"][entry] for picture in found["pictures"]]


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run the command, which must refuse in one line and write nothing; return the line."""
    capsys.readouterr()
    assert main(["compare", *argv, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("basicsr: error: ") and error.count("\n") == 1, error
    assert not Path("out").exists()
    return error


def test_option_files_are_judged_as_basicsr_test_judges_them(networks: Networks) -> None:
    networks.tested("two.yml"), networks.tested("three.yml")
    found = compared("two.yml", "three.yml")
    assert [entry["name"] for entry in found["entries"]] == ["two", "three"]
    assert [entry["bits"] for entry in found["entries"]] == [2, 3]
    for index, name in enumerate(("two", "three")):
        results = json.loads(Path(f"results/{name}/results.json").read_text(encoding="utf-8"))
        per_image = results["datasets"]["Mine"]["per_image"]
        assert {p["name"]: p["scores"][index] for p in found["pictures"]} == {
            image: score["quantized"] for image, score in per_image.items()
        }


def test_result_folders_need_no_network_and_give_the_same_page(networks: Networks) -> None:
    folders = networks.tested("two.yml"), networks.tested("three.yml")
    for file in (networks.two, networks.three):
        assert file.is_file()
    by_networks = compared("two.yml", "three.yml")
    by_folders = compared(*folders)
    assert by_folders["pictures"] == by_networks["pictures"]
    assert by_folders["comparisons"] == by_networks["comparisons"]
    assert [entry["pictures"] for entry in by_folders["entries"]] == [len(PICTURES)] * 2


def test_a_folder_is_compared_with_a_network_on_the_folders_pictures(networks: Networks) -> None:
    folder = networks.tested("two.yml")
    found = compared(folder, "three.yml")
    assert scores(found, 1) == scores(compared("two.yml", "three.yml"), 1)


def test_packed_files_and_weights_take_padding_and_metrics_of_the_option_file(networks: Networks) -> None:
    networks.write("three.yml", name="three", val={"padding": "flip"})
    teacher = bundled.teacher_path(4)
    found = compared("three.yml", str(networks.two), str(teacher))
    assert found["padding"] == "flip"
    assert [entry["kind"] for entry in found["entries"]] == ["option file", "packed file", "weight file"]
    assert [entry["bits"] for entry in found["entries"]] == [3, 2, 32]
    networks.write("two.yml", name="two", quant={"bits": 2}, path={"pretrain_network_g": str(networks.two)},
                   val={"padding": "flip"})  # fmt: skip
    assert scores(found, 1) == scores(compared("three.yml", "two.yml"), 1)
    networks.write("teacher.yml", name="teacher", quant=None, val={"padding": "flip"}, network_g=LIGHT,
                   path={"pretrain_network_g": str(teacher)})  # fmt: skip
    assert scores(found, 2) == scores(compared("three.yml", "teacher.yml"), 1)


LIGHT = {"depths": [6, 6, 6, 6], "num_heads": [6, 6, 6, 6], "img_size": 64}


def test_a_folder_without_pictures_gives_figures_and_says_so(networks: Networks, capsys) -> None:
    first, second = networks.tested("two.yml"), networks.tested("three.yml")
    for folder in (first, second):
        shutil.rmtree(f"{folder}/visualization")
    found = compared(first, second)
    assert [entry["pictures"] for entry in found["entries"]] == [0, 0]
    assert found["comparisons"][0]["pairs"] == len(PICTURES)


def test_two_packed_files_are_compared_on_benchmarks_by_the_installed_settings(networks: Networks) -> None:
    shutil.copytree("HR", "data/Set5/HR")
    shutil.copytree("LR", "data/Set5/LR_bicubic/X4")
    found = compared(str(networks.two), str(networks.three), "--data", "data", "--sets", "Set5")
    assert {picture["data_set"] for picture in found["pictures"]} == {"Set5"}
    assert found["padding"] == "reflect" and found["metrics"]["psnr"]["crop_border"] == 4
    by_options = compared("two.yml", "three.yml")
    assert [scores(found, 0), scores(found, 1)] == [scores(by_options, 0), scores(by_options, 1)]
    assert "COMPSRT_DATA" not in os.environ


def test_names_are_given_where_two_would_be_the_same(networks: Networks, capsys) -> None:
    folder = networks.tested("two.yml")
    error = refused(capsys, folder, folder)
    assert "are both called two" in error and f"old={folder}" in error
    found = compared(f"old={folder}", f"new={folder}")
    assert [entry["name"] for entry in found["entries"]] == ["old", "new"]
    assert all(one["mean"] == 0 and one["p"] == 1 for one in found["comparisons"] if "mean" in one)


def test_another_picture_behind_the_same_figures_is_refused(networks: Networks, capsys) -> None:
    folder = networks.tested("two.yml")
    networks.tested("three.yml")
    saved = Path(folder, "visualization/Mine/px4_two.png")
    picture = cv2.imread(str(saved))
    cv2.imwrite(str(saved), np.flipud(picture))
    error = refused(capsys, folder, "three.yml")
    assert "px4_two.png has" in error and "the same originals" in error
    cv2.imwrite(str(saved), picture[:-4])
    assert "48×36 and 48×40 pixels; allowed: the same crops" in refused(capsys, folder, "three.yml")


def other_scale(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "compsrt_x2_3bit.yml"


def other_padding(networks: Networks) -> tuple[str, ...]:
    return "three.yml", networks.write("flip.yml", name="flip", val={"padding": "flip"})


def other_border(networks: Networks) -> tuple[str, ...]:
    metrics = {name: {**block, "crop_border": 3} for name, block in networks.place.test["val"]["metrics"].items()}
    return "three.yml", networks.write("border.yml", name="border", val={"metrics": metrics})


def other_channel(networks: Networks) -> tuple[str, ...]:
    metrics = {
        name: {**block, "test_y_channel": False} for name, block in networks.place.test["val"]["metrics"].items()
    }
    return "three.yml", networks.write("rgb.yml", name="rgb", val={"metrics": metrics})


def other_metrics(networks: Networks) -> tuple[str, ...]:
    metrics = {"psnr": networks.place.test["val"]["metrics"]["psnr"]}
    return "three.yml", networks.write("psnr.yml", name="psnr", val={"metrics": metrics})


def fewer_pictures(networks: Networks) -> tuple[str, ...]:
    folder = networks.tested("two.yml")
    Path("HR/q.png").unlink()
    Path("LR/qx4.png").unlink()
    return folder, "three.yml"


def other_content(networks: Networks) -> tuple[str, ...]:
    for folder in ("HR", "LR"):
        shutil.copytree(folder, f"other/{folder}")
    networks.place.save(Path("other/HR/p.png"), np.zeros((40, 48, 3), np.uint8))
    data = {**networks.place.data, "dataroot_gt": "other/HR", "dataroot_lq": "other/LR"}
    return "three.yml", networks.write("other.yml", name="other", datasets={"test_1": data})


def other_sets(networks: Networks) -> tuple[str, ...]:
    data = {**networks.place.data, "name": "Yours"}
    return "three.yml", networks.write("yours.yml", name="yours", datasets={"test_1": data})


def more_sets(networks: Networks) -> tuple[str, ...]:
    sets = {"test_1": networks.place.data, "test_2": {**networks.place.data, "name": "More"}}
    return "three.yml", networks.write("more.yml", name="more", datasets=sets)


def other_crops(networks: Networks) -> tuple[str, ...]:
    data = {**networks.place.data, "centre_patch": 8}
    return "three.yml", networks.write("crops.yml", name="crops", datasets={"test_1": data})


def one_alone(networks: Networks) -> tuple[str, ...]:
    return ("three.yml",)


def missing_file(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "nothing.safetensors"


def long_name(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "n" * 300


def missing_option_file(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "compsrt_x4_3bits.yml"


def empty_folder(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "HR"


def unknown_set(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "two.yml", "--sets", "Min"


def set_that_the_folder_lacks(networks: Networks) -> tuple[str, ...]:
    return "three.yml", networks.tested("two.yml"), "--sets", "Set5"


def no_root(networks: Networks) -> tuple[str, ...]:
    return "three.yml", "two.yml", "--data", "nowhere"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (other_scale, "scale is 4 in three and 2 in compsrt_x2_3bit"),
        (other_padding, "val.padding is reflect in three and flip in flip"),
        (other_border, "metrics.psnr.crop_border is 4 in three and 3 in border"),
        (other_channel, "metrics.psnr.test_y_channel is True in three and False in rgb"),
        (other_metrics, "metric ssim is True in three and False in psnr"),
        (fewer_pictures, "two has the image q.png of Mine, three has not (3 and 2 images)"),
        (other_content, "data set Mine of other has other images than that of three"),
        (other_sets, "three has data set Mine, yours has not; choose with --sets"),
        (more_sets, "more has data set More, three has not; choose with --sets"),
        (other_crops, "data set Mine of crops has other images than that of three"),
        (one_alone, "three.yml alone is given; a comparison needs 2 or more"),
        (missing_file, "no such file: nothing.safetensors"),
        (long_name, f"{'n' * 300}"),
        (missing_option_file, "no option file 'compsrt_x4_3bits.yml'"),
        (empty_folder, "HR is a folder without results.json"),
        (unknown_set, "unknown data set 'Min'; allowed: Mine; did you mean 'Mine'?"),
        (set_that_the_folder_lacks, "unknown data set in results/two 'Set5'; allowed: Mine"),
        (no_root, "--data nowhere is not a folder"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(networks: Networks, capsys, case, message) -> None:
    assert message in refused(capsys, *case(networks))


def test_a_data_set_that_is_not_on_this_machine_stops_nobody(networks: Networks) -> None:
    absent = {"name": "Absent", "type": "CompSRTPairedDataset", "io_backend": {"type": "disk"}}
    more = networks.write("more.yml", name="more", datasets={"test_1": networks.place.data, "test_2": absent})
    assert len(compared("three.yml", more)["pictures"]) == len(compared(more, "three.yml")["pictures"]) == len(PICTURES)


def test_a_name_that_is_no_unicode_is_compared_too(networks: Networks) -> None:
    odd = os.fsdecode(b"two\xff.safetensors")
    shutil.copy(networks.two, odd)
    found = compared("three.yml", odd)
    assert found["entries"][1]["name"] == os.fsdecode(b"two\xff")


def test_published_results_stand_beside(networks: Networks) -> None:
    found = compared("two.yml", "three.yml", "--published")["published"]
    assert {row["bits"] for row in found["rows"]} == {2, 3, 32}
    assert "published" not in compared("two.yml", "three.yml")


def test_the_terminal_has_means_differences_and_warnings(networks: Networks, capsys) -> None:
    found = compared("two.yml", "three.yml")
    text = capsys.readouterr().out
    assert "baseline: two" in text and "PSNR in dB" in text and "SSIM" in text
    (over_pictures,) = [c for c in found["comparisons"] if c["metric"] == "psnr" and c["over"] == "images of Mine"]
    assert f"{over_pictures['mean']:+.3f}" in text
    assert "warning  data sets: 1 pair: no interval and no test" in text
    assert "warning  images of Mine: 3 pairs that differ: p cannot be below 0.13" in text
    assert text.rstrip().endswith(f"{len(Path('out/index.html').read_bytes()):,} bytes")
