"""Which images are meant, where their results go, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.jobs import list_jobs


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "in/a.png",
        "in/b.JPG",
        "in/notes.txt",
        "in/.hidden.png",
        "in/deep/c.tif",
        "in/deep/er/a.png",
        "one.webp",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()


def targets(*inputs: str, out: str = "out", suffix: str | None = None) -> list[str]:
    return [f"{job.source}>{job.target}" for job in list_jobs(inputs, out, suffix).jobs]


def test_a_folder_gives_its_own_pictures_and_counts_the_rest():
    assert targets("in") == ["in/a.png>out/a.png", "in/b.JPG>out/b.JPG"]
    assert list_jobs(["in"], Path("out")).left_alone == 1


def test_a_pattern_keeps_the_folders_below_its_fixed_part():
    assert targets("in/**/*.*") == [
        "in/a.png>out/a.png",
        "in/b.JPG>out/b.JPG",
        "in/deep/c.tif>out/deep/c.tif",
        "in/deep/er/a.png>out/deep/er/a.png",
    ]


def test_results_of_an_earlier_run_are_no_sources():
    Path("in/out").mkdir()
    Path("in/out/a.png").touch()
    for out in ("in/out", str(Path("in/out").resolve())):
        found = list_jobs(["in/**/*.png"], Path(out)).jobs
        assert [str(job.source) for job in found] == ["in/a.png", "in/deep/er/a.png"]


def test_names_that_look_like_patterns_are_names_if_they_exist():
    Path("in/[1].png").touch()
    assert targets("in/[1].png") == ["in/[1].png>out/[1].png"]


def test_results_may_lie_above_the_sources():
    assert targets("in/deep/*.tif", out=".") == ["in/deep/c.tif>c.tif"]


def test_one_picture_may_be_given_a_name_and_with_it_another_format():
    assert targets("one.webp", out="large.png") == ["one.webp>large.png"]
    assert targets("one.w*", out="large.png") == ["one.webp>large.png"]
    Path("folder.png").mkdir()
    assert targets("one.webp", out="folder.png") == ["one.webp>folder.png/one.webp"]


def test_a_folder_may_end_like_a_file_if_that_is_meant():
    assert targets("in/a.png", out="x.bmp/") == ["in/a.png>x.bmp/a.png"]
    assert list_jobs(["in/a.png"], "x.png/").jobs[0].target == Path("x.png/a.png")
    assert targets("in", out="large.v2")[0] == "in/a.png>large.v2/a.png"
    Path("x.gif").mkdir()
    assert targets("in/a.png", out="x.gif") == ["in/a.png>x.gif/a.png"]


@pytest.mark.parametrize("name", ["p.jfif", "p.jpe", "p.JPE"])
def test_all_endings_of_a_jpeg_are_known(name: str):
    Path(f"in/deep/{name}").touch()
    assert f"in/deep/{name}>out/{name}" in targets("in/deep")


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"RIFF\0\0\0\0WEBP", ".webp"),
        (b"II*\0", ".tif"),
        (b"MM\0+", ".tif"),
        (b"GIF89a", ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("name", ["p", "p.png.download", "p.dat"])
def test_a_picture_with_no_or_another_ending_gets_that_of_its_content(content: bytes, ending: str, name: str):
    Path(name).write_bytes(content)
    assert targets(name) == [f"{name}>out/{name}{ending}"]
    assert targets(name, suffix=".png") == [f"{name}>out/{Path(name).stem}.png"]


def test_a_format_changes_every_ending():
    assert targets("in", suffix=".png") == ["in/a.png>out/a.png", "in/b.JPG>out/b.png"]


def test_the_same_file_named_twice_is_one_job():
    assert targets("in/a.png", "in") == ["in/a.png>out/a.png", "in/b.JPG>out/b.JPG"]


@pytest.mark.parametrize(
    ("inputs", "out", "suffix", "says"),
    [
        (["none.png"], "out", None, "no such file or folder: none.png"),
        (["empty"], "out", None, "no images in empty; allowed: files ending in .png"),
        (["*.gif"], "out", None, "no images match"),
        (["in"], "out.png", None, "-o out.png is the name of one image"),
        (["in/a.png", "one.webp"], "out.png", None, "-o out.png is the name of one image"),
        (["in/*.*"], "out.png", None, "-o out.png is the name of one image, 2 were found"),
        (["one.webp"], "out.png", ".jpg", "-o out.png and --format jpg differ"),
        (["in"], "in", None, "in/a.png would replace in/a.png"),
        (["in/a.png"], "./in/../in/a.png", None, "would replace in/a.png"),
        (["in/a.png", "in/deep/er/a.png"], "out", None, "would both become out/a.png"),
        (["in/a.png"], "x.bmp", None, "-o x.bmp: no .bmp files can be written; allowed: a folder, or for one image"),
        (["in/*.png"], "x.gif", None, "-o x.gif: no .gif files can be written"),
        (["in/a.png"], "x.pngg", None, "-o x.pngg: no .pngg files can be written"),
        (["in/a.png"], "deep/x.JP2", None, "no .JP2 files can be written"),
        (["in"], "x.bmp", None, "-o x.bmp: no .bmp files can be written"),
        (["in/a.png", "one.webp"], "x.pdf", None, "-o x.pdf: no .pdf files can be written"),
        (["pipe.png"], "out", None, "pipe.png is neither a file nor a folder"),
        (["nowhere.png"], "out", None, "nowhere.png is a broken link"),
        (["circle.png"], "out", None, "circle.png is a broken link"),
        (["n" * 300], "out", None, "File name too long"),
    ],
)
def test_a_mistake_is_named_before_anything_is_made(inputs, out, suffix, says):
    os.mkfifo("pipe.png")
    Path("nowhere.png").symlink_to("none.png")
    Path("circle.png").symlink_to("circle.png")
    with pytest.raises(CompSRTError) as caught:
        list_jobs(inputs, out, suffix)
    assert says in str(caught.value)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_source_is_not_replaced_through_a_link(link):
    Path("out").mkdir()
    link(Path("in/a.png").resolve(), "out/a.png")
    with pytest.raises(CompSRTError, match="would replace"):
        list_jobs(["in/a.png"], Path("out"))


def test_another_pictures_source_is_not_replaced_either():
    with pytest.raises(CompSRTError, match=r"in/deep/c.tif would replace in/deep/c.tif"):
        Path("c.tif").touch()
        list_jobs(["c.tif", "in/deep/c.tif"], Path("in/deep"))


def test_a_folder_where_a_result_should_go_is_named():
    Path("out/a.png").mkdir(parents=True)
    with pytest.raises(CompSRTError, match=r"out/a\.png is a folder"):
        list_jobs(["in/a.png"], Path("out"))
