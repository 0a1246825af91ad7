"""Images of a bucket are found and enlarged as those of a folder are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from s3_server import Bucket
from small_networks import save, small_network

from compsrt_plugin.buckets import address_of
from compsrt_plugin.cli.main import main
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.upscale.jobs import list_jobs

NET = ("--model", "net.safetensors")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> Bucket:
    """The current folder with a network and two images, and a bucket with the same images."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "net.safetensors", small_network())
    Path("in").mkdir()
    for name in ("a.png", "b c.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)).save(f"in/{name}")
        bucket.put(f"photos/{name}", Path("in", name).read_bytes())
    return bucket


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("[!.]*")}


@pytest.fixture
def made(here: Bucket, capsys: pytest.CaptureFixture[str]) -> dict[str, bytes]:
    """What the images of the folder become."""
    assert main(["upscale", "in", "-o", "same", *NET]) == 0
    capsys.readouterr()
    return files("same")


def test_from_bucket_to_bucket_and_again(here: Bucket, made: dict[str, bytes], capsys: pytest.CaptureFixture[str]):
    here.put("photos/note.txt", b"")
    here.put("photos/.hidden.png", b"")
    here.put("photos/deep/c.png", b"")
    argv = ["upscale", f"s3://{here.name}/photos/", "-o", f"s3://{here.name}/large", *NET]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "2 made" in out and "ignored 1 file" in err and here.contents("large/") == made
    here.put("photos/b c.png", here.contents("photos/")["a.png"][:-40])  # another one, and damaged
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert "0 made, 1 already there, 1 failed" in out and f"s3://{here.name}/photos/b c.png is damaged" in err


def test_from_bucket_to_folder_and_back(here: Bucket, made: dict[str, bytes], capsys: pytest.CaptureFixture[str]):
    assert main(["upscale", f"s3://{here.name}/photos", "-o", "out", *NET]) == 0 and files("out") == made
    assert main(["upscale", "in", "-o", f"s3://{here.name}", *NET]) == 0
    assert {name: here.contents()[name] for name in made} == made
    assert main(["upscale", "in", "-o", f"s3://{here.name}", *NET]) == 0
    assert "0 made, 2 already there" in capsys.readouterr().out


def test_one_object_to_one_object(here: Bucket, made: dict[str, bytes]):
    here.put("no_ending", Path("in/a.png").read_bytes())
    assert main(["upscale", f"s3://{here.name}/photos/a.png", "-o", f"s3://{here.name}/x/one.png", *NET]) == 0
    assert main(["upscale", f"s3://{here.name}/no_ending", "-o", f"s3://{here.name}/x", *NET]) == 0
    assert here.contents("x/") == {"one.png": made["a.png"], "no_ending.png": made["a.png"]}


def found(bucket: Bucket, pattern: str, out: str = "out", suffix: str | None = None) -> list[str]:
    jobs = list_jobs([f"s3://{bucket.name}/{pattern}"], f"s3://{bucket.name}/{out}", suffix).jobs
    return [f"{address_of(j.source)}>{address_of(j.target)}".replace(f"s3://{bucket.name}/", "") for j in jobs]


def test_a_pattern_keeps_what_is_below_its_fixed_part(bucket: Bucket):
    for key in ("s/1.png", "s/a/2.png", "s/a/b/3.tif", "s/.x/4.png", "s/out/5.png", "t/6.png", "s/7.txt"):
        bucket.put(key, b"1")
    assert found(bucket, "s/**/*.png", "s/out") == ["s/1.png>s/out/1.png", "s/a/2.png>s/out/a/2.png"]
    assert found(bucket, "s/?.*") == ["s/1.png>out/1.png"]
    assert found(bucket, "*/[0-9].png", suffix=".webp") == ["s/1.png>out/s/1.webp", "t/6.png>out/t/6.webp"]
    assert found(bucket, "s/a/**") == ["s/a/2.png>out/2.png", "s/a/b/3.tif>out/b/3.tif"]


@pytest.mark.parametrize(
    ("pattern", "out", "says"),
    [
        ("none", "out", "no images in s3://BUCKET/none; allowed: objects ending in .png"),
        ("s/*.jpg", "out", "no images match s3://BUCKET/s/*.jpg"),
        ("s/a**/x.png", "out", "** between slashes"),
        ("s", "s", "s3://BUCKET/s/1.png would replace s3://BUCKET/s/1.png; give another folder with -o"),
        ("*/1.*", "t/x.png", "-o s3://BUCKET/t/x.png is the name of one image, 2 were found"),
    ],
)
def test_a_mistake_is_told(bucket: Bucket, pattern: str, out: str, says: str):
    bucket.put("s/1.png", b"1")
    bucket.put("t/1.tif", b"1")
    with pytest.raises(CompSRTError) as raised:
        found(bucket, pattern, out)
    assert says in str(raised.value).replace(bucket.name, "BUCKET")


def test_a_bucket_that_cannot_be_written_ends_the_run(here: Bucket, capsys: pytest.CaptureFixture[str]):
    assert main(["upscale", "in", "-o", "s3://no-such-bucket/large", *NET]) == 2
    assert "there is no bucket s3://no-such-bucket; check the name" in capsys.readouterr().err
