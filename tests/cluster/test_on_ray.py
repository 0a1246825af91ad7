"""`basicsr upscale --ray` on a local cluster: nothing is lost when a worker dies, and one machine makes the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pages
import pytest
from PIL import Image

from compsrt_plugin.cli.main import main

from .images import write_images
from .test_worker import contents

IMAGES, SIDE = 24, 96
NETWORK = ("--network", "compsrt_x4_3bit")  # the engine runs all of it, with the same bytes for any number of threads


def test_without_ray_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    images = write_images(tmp_path / "in", 1)
    assert main(["upscale", str(images), "-o", str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "pip install 'compsrt_plugin[cluster]'" in capsys.readouterr().err


def test_torchrun_and_ray_do_not_both_share_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    images = write_images(tmp_path / "in", 1)
    assert main(["upscale", str(images), "-o", str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "without torchrun" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one core each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def upscale(images: Path, out: Path, cluster: Any) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "compsrt_plugin", "upscale", str(images), "-o", str(out), *NETWORK]
    argv += ["--ray", cluster.address]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers(cluster: Any) -> list[int]:
    """Return the processes of the cluster that hold a network."""
    nodes = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in nodes and "UpscaleFiles" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_every_image_is_made_although_a_worker_is_killed(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = write_images(tmp_path / "in", IMAGES, SIDE), tmp_path / "out"
    (images / "damaged.png").write_bytes((images / "0.png").read_bytes()[:-40])
    running = upscale(images, out, cluster)
    try:
        killed = made = 0
        while not killed and running.poll() is None:
            made = len(contents(out)) if out.exists() else 0
            if made:
                killed = workers(cluster)[0]
                os.kill(killed, signal.SIGKILL)
            time.sleep(0.02)
        said, errors = running.communicate(timeout=500)
    finally:
        running.kill()
    assert killed and made < IMAGES, (said, errors)
    assert running.returncode == 1 and f"{IMAGES} made" in said and "1 failed" in said, (said, errors)
    assert errors.count("damaged.png is damaged") == 1
    assert main(["upscale", str(images), "-o", str(tmp_path / "alone"), *NETWORK]) == 1
    shared, alone = contents(out), contents(tmp_path / "alone")
    assert sorted(shared) == sorted(alone) and len(shared) == IMAGES
    assert [name for name in shared if shared[name] != alone[name]] == []
    assert main(["upscale", str(images), "-o", str(out), *NETWORK]) == 1
    assert f"0 made, {IMAGES} already there, 1 failed" in capsys.readouterr().out


def test_no_cluster_at_the_address_is_one_line(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "in", 1)
    assert main(["upscale", str(images), "-o", str(tmp_path / "out"), "--ray", "127.0.0.1:1"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--ray 127.0.0.1:1: there is no cluster" in line and "ray start --head" in line


def test_the_examples_of_the_guide_run(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    monkeypatch.chdir(tmp_path)
    write_images(Path("photos"), 3)
    ray.init(cluster.address, log_to_driver=False)
    try:
        names: dict[str, Any] = {}
        for example in pages.blocks(pages.read("docs/many_machines.md"), "python"):
            pages.run(example.replace("/data/", f"{tmp_path}/"), names)
    finally:
        ray.shutdown()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["made"] * 3
    assert sorted(contents(Path("large"))) == ["0.png", "1.png", "2.png"]
    made = sorted(Path("large_by_ray").iterdir())
    assert len(made) == 3 and Image.open(made[0]).size == (48, 48)
