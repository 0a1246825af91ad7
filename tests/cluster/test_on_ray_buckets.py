"""`basicsr upscale s3://… -o s3://… --ray local`: a killed run goes on, and the results are those of a folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pages
import pytest
from s3_server import Bucket

from compsrt_plugin.cli.main import main

from .images import write_images
from .test_worker import contents

IMAGES, SIDE = 12, 96
NETWORK = ("--network", "compsrt_x4_3bit")


@pytest.fixture
def photos(bucket: Bucket, tmp_path: Path) -> Path:
    """Images in a folder and in `photos/` of the bucket, one of them damaged."""
    pytest.importorskip("ray")
    folder = write_images(tmp_path / "photos", IMAGES, SIDE)
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:-40])
    for path in folder.iterdir():
        bucket.put(f"photos/{path.name}", path.read_bytes())
    return folder


def start(*argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "compsrt_plugin", "upscale", *argv, *NETWORK]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_a_killed_run_goes_on_and_makes_what_a_folder_gives(bucket: Bucket, photos: Path) -> None:
    address = f"s3://{bucket.name}"
    argv = (f"{address}/photos", "-o", f"{address}/large", "--ray", "local")
    running, made = start(*argv), 0
    try:
        while not made and running.poll() is None:
            time.sleep(0.05)
            made = len(bucket.contents("large/"))
    finally:
        os.kill(running.pid, signal.SIGKILL)
        _, errors = running.communicate()
    before = bucket.contents("large/")
    assert made and len(before) < IMAGES, errors
    said, errors = start(*argv).communicate(timeout=500)
    counts = re.search(r": (\d+) made .*, (\d+) already there, 1 failed;", said)
    assert counts and int(counts[1]) + int(counts[2]) == IMAGES, (said, errors)
    assert errors.count(f"{address}/photos/damaged.png is damaged") == 1
    assert main(["upscale", str(photos), "-o", str(photos.parent / "alone"), *NETWORK]) == 1
    shared, alone = bucket.contents("large/"), contents(photos.parent / "alone")
    assert sorted(shared) == sorted(alone) and len(shared) == IMAGES
    assert [name for name in shared if shared[name] != alone[name]] == []


def test_the_command_of_the_guide_runs(bucket: Bucket, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    for path in photos.glob("[!0]*.png"):
        bucket.delete(f"photos/{path.name}")
        path.unlink()
    page = pages.read("docs/many_machines.md")
    commands = [argv for argv in pages.commands(page) if any("s3://bucket/" in word for word in argv)]
    assert len(commands) == 3
    for command in commands:
        argv = [word.replace("s3://bucket/", f"s3://{bucket.name}/") for word in command]
        if "--ray" in argv:
            said, errors = start(*argv[1:]).communicate(timeout=300)
            assert ": 1 made" in said, errors
        else:
            assert main([*argv, *NETWORK]) == 0
    assert len(bucket.contents("large/")) == 1
    assert contents(Path("large")) == bucket.contents("large/") == bucket.contents("from_folder/")
