"""Judge packed networks against their teachers on test sets by BasicSR's metrics, and write result files.

    python benchmarks/recipes.py judge FILE… --results DIR --data DATASETS [--sets Demo Set5 Set14 B100]
                                       [--jobs 2] [--engine]

DATASETS is the common root of Set5/HR, Set5/LR_bicubic/X4 and so on. Each of `--jobs` processes has one thread and
takes the next image. The teacher's outputs are kept in the cache folder, once for all files. A file with a result of
the same bytes on the same sets is skipped. A file that cannot be judged is reported; the others go on. The figures
are those of `basicsr test`: PSNR and SSIM on Y, border = scale, reflect padding. Nothing is chosen here. Result files
have the format of `basicsr test`, with the command, date and runner added. `--engine` is several times faster, within
0.014 dB where both were compared (docs/notes/engine.md).

The duration of a calibration is read from the file's header (`provenance.cpu_seconds`), or from NAME.json beside it,
which `ablation.py run --keep` writes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, in this process and the workers

import numpy as np
import torch
from results_tables import difference

import compsrt_plugin
from compsrt_plugin.data.images import read_image, write_image
from compsrt_plugin.data.resize import upscale as bicubic
from compsrt_plugin.data.roots import VARIABLE
from compsrt_plugin.engine import Engine, unsupported_reason
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import cache_root
from compsrt_plugin.inference import choose_tile, pad_to_windows, super_resolve
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.bundled import teacher_path
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.open import PackedNetwork, build, open_packed
from compsrt_plugin.quant import distinct_codes, named_quantizers
from compsrt_plugin.report import FileRecord, Method, Results, Score, read_results, write_results

compsrt_plugin.register()

from basicsr.data import build_dataset  # noqa: E402  (needs the repairs of `register`)
from basicsr.metrics import calculate_metric  # noqa: E402

from compsrt_plugin.models.compsrt_model import COUNTED_PATCH  # noqa: E402
from compsrt_plugin.models.data_set_evaluation import COMPARED_SET as EMBEDDED  # noqa: E402
from compsrt_plugin.models.evaluation import to_image  # noqa: E402
from compsrt_plugin.packed.network_weights import float_bytes, load_full_precision  # noqa: E402
from compsrt_plugin.report.versions import versions  # noqa: E402

PADDING = "reflect"
IMAGES_A_TASK = 5


@dataclass(frozen=True)
class Task:
    """Some images of a set, to be judged with one file."""

    file: Path
    teacher: Path
    dataset: str
    scale: int
    begin: int
    end: int
    engine: bool


Scores = list[tuple[str, dict[Method, Score]]]  # image, score of each method


def metrics(scale: int) -> dict[str, Any]:
    """Return `val.metrics` as the installed option files have it."""
    common = {"crop_border": scale, "test_y_channel": True}
    return {name: {"type": f"calculate_{name}", **common} for name in ("psnr", "ssim")}


@cache
def data_set(name: str, scale: int) -> Any:
    """Return a test set.

    Raises:
        CompSRTError: the set is missing.
    """
    found = {"name": name, "type": "CompSRTPairedDataset", "phase": "test", "scale": scale, "strict_data": True}
    embedded = {"embedded": "demo"} if name == EMBEDDED else {}
    return build_dataset({**found, **embedded, "io_backend": {"type": "disk"}})


@lru_cache(maxsize=1)
def network_of(path: Path) -> PackedNetwork:
    """Return a packed file's network; the last one is cached."""
    return open_packed(path)


@lru_cache(maxsize=1)
def runner_of(path: Path, engine: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the engine for a packed file if requested and possible, else the simulated network."""
    network = network_of(path).network
    return Engine(network, threads=1) if runner_name(network, engine) == "engine" else network


def runner_name(network: torch.nn.Module, engine: bool) -> str:
    """Return `engine`, or `simulated` for the network in PyTorch with fake quantization."""
    return "engine" if engine and unsupported_reason(network) is None else "simulated"


@lru_cache(maxsize=1)
def teacher_of(path: Path, like: Path) -> torch.nn.Module:
    """Return the full-precision network with the architecture of a packed file."""
    from basicsr.archs import build_network

    arch = {key: value for key, value in network_of(like).header.arch.items() if key != "quant"}
    network = build_network(arch)
    load_full_precision(network, str(path))
    return network.eval()


def upscale(network: Callable[[torch.Tensor], torch.Tensor], window: Any, lq: torch.Tensor, scale: int) -> np.ndarray:
    """Return a network's output for (1, 3, h, w), as (h * scale, w * scale, 3) uint8, BGR."""
    tile = choose_tile(network, lq.shape[2:], scale=scale, window=window, device=lq.device)
    return to_image(super_resolve(network, lq, scale=scale, window=window, padding=PADDING, tile=tile))


def work(task: Task) -> tuple[Scores, dict[str, int]]:
    """Judge a task's images; return their scores, and the codes counted on the set's first image."""
    network, dataset = network_of(task.file).network, data_set(task.dataset, task.scale)
    runner, window = runner_of(task.file, task.engine), network.window_size
    folder = cache_root() / "teacher_outputs" / f"{FileRecord.of(task.teacher).sha256[:16]}-{PADDING}" / task.dataset
    scores: Scores = []
    counts: dict[str, int] = {}
    for index in range(task.begin, task.end):
        pair = dataset[index]
        lq, original, name = pair["lq"][None], to_image(pair["gt"][None]), Path(pair["gt_path"]).name
        kept = folder / f"{Path(name).stem}.png"
        if not kept.is_file():
            write_image(kept, upscale(teacher_of(task.teacher, task.file), window, lq, task.scale))
        made: dict[Method, np.ndarray] = {
            "bicubic": bicubic(to_image(lq), task.scale),
            "teacher": read_image(kept),
            "quantized": upscale(runner, window, lq, task.scale),
        }
        scores.append((name, {method: score(image, original, task.scale) for method, image in made.items()}))
        if index == 0:
            top, left = (max(0, (size - COUNTED_PATCH) // 2) for size in lq.shape[2:])
            patch = lq[:, :, top : top + COUNTED_PATCH, left : left + COUNTED_PATCH]
            counts = distinct_codes(network, [pad_to_windows(patch, cast(int, window), PADDING)])
    return scores, counts


def score(image: np.ndarray, original: np.ndarray, scale: int) -> Score:
    """Return PSNR and SSIM by BasicSR."""
    pair = {"img": image, "img2": original}
    return Score(**{name: calculate_metric(pair, dict(metric)) for name, metric in metrics(scale).items()})


def tasks_of(file: Path, teacher: Path, sets: list[str], scale: int, engine: bool) -> Iterator[Task]:
    """Cut a file's judging into tasks."""
    for name in sets:
        count = len(data_set(name, scale))
        for begin in range(0, count, IMAGES_A_TASK):
            yield Task(file, teacher, name, scale, begin, min(count, begin + IMAGES_A_TASK), engine)


def gathered(
    file: Path, teacher: Path, parts: list[tuple[Task, tuple[Scores, dict[str, int]]]], args: argparse.Namespace
) -> Results:
    """Put a file's scores together."""
    header = Header.parse(read_packed(file).header, file)
    network, full = build(header, file), FileRecord.of(file)
    widths = {q.name: q.spec.bits for _, q in named_quantizers(network)}
    results = Results(
        name=file.stem,
        scale=header.scale,
        bits=header.bits,
        bytes=full.bytes,
        float_bytes=float_bytes(teacher_of(teacher, file)),
        padding=PADDING,
        metrics=metrics(header.scale),
        codes=header.spec.activation.codes,
        recipe=header.recipe,
        weights_trained=header.weights_trained,
        other_bits={name: width for name, width in widths.items() if width != header.bits},
        versions=versions(),
        files={
            "checkpoint": replace(full, path=file.name),
            "teacher": replace(FileRecord.of(teacher), path=teacher.name),
        },
        extra={
            "command": command_of(file, args),
            "date": datetime.now(timezone.utc).date().isoformat(),
            "runner": runner_name(network_of(file).network, args.engine),
            "calibration": calibration(file, full.sha256, header.provenance),
        },
    )
    for task, (scores, counts) in parts:
        for name, by_method in scores:
            results.add_image(task.dataset, name, **by_method)
        for name, count in counts.items():
            results.distinct_codes[name] = max(count, results.distinct_codes.get(name, 0))
    return results


def command_of(file: Path, args: argparse.Namespace) -> str:
    """Return the command that judges only this file, without local folders."""
    words = ["python", "benchmarks/recipes.py", "judge", file.name, "--results", args.results.name]
    words += ["--teacher", args.teacher.name] if args.teacher else []
    return shlex.join([*words, "--data", "DATASETS", "--sets", *args.sets, *(["--engine"] if args.engine else [])])


def calibration(file: Path, sha256: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return `cpu_seconds` and `iterations` of a calibration, None where they are unknown."""
    beside = file.with_suffix(".json")
    told: Mapping[str, Any] = provenance
    if beside.is_file():
        found = json.loads(beside.read_text())
        told = found if found.get("sha256") == sha256 else provenance
    return {key: told.get(key) for key in ("cpu_seconds", "iterations")}


def is_judged(file: Path, sets: list[str], teacher: str, result: Path) -> bool:
    """Return whether a result of this file on these sets with this teacher exists."""
    if not result.is_file():
        return False
    found = read_results(result)
    known = {role: record.sha256 for role, record in found.files.items()}
    return known == {"checkpoint": FileRecord.of(file).sha256, "teacher": teacher} and set(sets) <= set(found.datasets)


def judge(args: argparse.Namespace) -> int:
    """Judge the files without a result; return 1 if one failed."""
    if args.data:
        os.environ[VARIABLE] = str(args.data.absolute())
    failed = 0
    context = get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(args.jobs, context, torch.set_num_threads, (1,)) as pool:
        waiting: dict[Path, dict[Future, Task]] = {}
        teachers: dict[Path, Path] = {}
        for file in args.files:
            try:
                header = Header.parse(read_packed(file).header, file)
                teacher = args.teacher or teacher_path(header.scale)
                sha256 = FileRecord.of(teacher).sha256
                if is_judged(file, args.sets, sha256, args.results / f"{file.stem}.json"):
                    print(f"{file.stem}: has its result", flush=True)
                    continue
                if header.provenance.get("teacher_sha256", sha256) != sha256:
                    print(f"{file.stem}: made from a teacher other than {teacher}", flush=True)
                teachers[file] = teacher
                tasks = list(tasks_of(file, teacher, args.sets, header.scale, args.engine))
            except CompSRTError as error:
                print(f"{file}: {error}", flush=True)
                failed += 1
                continue
            waiting[file] = {pool.submit(work, task): task for task in tasks}
        for file, futures in waiting.items():
            try:
                for future in as_completed(futures):
                    future.result()
                parts = [(task, future.result()) for future, task in futures.items()]
                results = gathered(file, teachers[file], parts, args)
                write_results(results, args.results / f"{file.stem}.json", indent=None)
                lost = [f"{name} {difference(results, name).psnr:+.3f} dB" for name in results.datasets]
                print(f"{file.stem}: {', '.join(lost)}", flush=True)
            except Exception as error:  # the other files go on, whatever it was
                print(f"{file}: {type(error).__name__}: {error}", flush=True)
                failed += 1
    return 1 if failed else 0


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    judging = commands.add_parser("judge", help="judge packed files that have no result yet")
    judging.add_argument("files", nargs="+", type=Path, metavar="FILE")
    judging.add_argument("--results", type=Path, required=True, help="folder of the result files")
    judging.add_argument("--data", type=Path, default=None, help=f"root of the sets (default: ${VARIABLE})")
    judging.add_argument("--sets", nargs="+", default=[EMBEDDED, "Set5", "Set14", "B100"])
    judging.add_argument("--teacher", type=Path, default=None, help="full-precision weights (default: bundled)")
    judging.add_argument("--engine", action="store_true", help="use the engine for files that it can run")
    judging.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    args = parser.parse_args()
    return judge(args)


if __name__ == "__main__":
    sys.exit(main())
