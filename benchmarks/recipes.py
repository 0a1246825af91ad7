"""The table of recipes × bits: packed files against their teacher, on test sets, by BasicSR's metrics.

    python benchmarks/recipes.py judge FILE… --results DIR --data DATASETS [--sets Demo Set5 Set14 B100]
                                       [--jobs 2] [--engine]
    python benchmarks/recipes.py table --results DIR [--out docs/recipes_table.md]

DATASETS is the common root of Set5/HR, Set5/LR_bicubic/X4 and so on. Each of `--jobs` processes has one thread and
takes pictures as they come. What the teacher makes of a picture is kept in the cache folder, once for all files; what
has a result of the same bytes on the same sets is passed over. A file that cannot be judged is told; the others go on.
The figures are those of `basicsr test`: PSNR and SSIM on Y, border = scale, reflect padding. Nothing is chosen here.
Result files have the format of `basicsr test`, and say besides by which command, when, and in which runner.
`--engine` gives them several times sooner, within 0.011 dB where both were compared (docs/engine.md).

How long a calibration took is read from the file's header (`provenance.cpu_seconds`) or from NAME.json beside it, which
`ablation.py run --keep` writes.
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

import compsrt_plugin
from compsrt_plugin.bundled import teacher_path
from compsrt_plugin.checkpoint import read_packed
from compsrt_plugin.checkpoint.header import Header
from compsrt_plugin.data.images import read_image, write_image
from compsrt_plugin.data.resize import upscale as bicubic
from compsrt_plugin.data.roots import VARIABLE
from compsrt_plugin.engine import Engine, unsupported_reason
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import cache_root, write_whole
from compsrt_plugin.inference import choose_tile, pad_to_windows, super_resolve
from compsrt_plugin.packed_network import PackedNetwork, build, open_packed
from compsrt_plugin.quant import distinct_codes, named_quantizers
from compsrt_plugin.report import FileRecord, Method, Results, Score, read_results, write_results

compsrt_plugin.register()

from basicsr.data import build_dataset  # noqa: E402  (needs the repairs of `register`)
from basicsr.metrics import calculate_metric  # noqa: E402

from compsrt_plugin.models.compsrt_model import COUNTED_PATCH  # noqa: E402
from compsrt_plugin.models.compsrt_model import PICTURED as EMBEDDED  # noqa: E402
from compsrt_plugin.models.judge import to_image  # noqa: E402
from compsrt_plugin.models.networks import float_bytes, load_full_precision, versions  # noqa: E402

PADDING = "reflect"
PICTURES_A_TASK = 5


@dataclass(frozen=True)
class Task:
    """Some pictures of a set, to be judged with one file."""

    file: Path
    teacher: Path
    dataset: str
    scale: int
    begin: int
    end: int
    engine: bool


Scores = list[tuple[str, dict[Method, Score]]]  # picture, score of each method


def metrics(scale: int) -> dict[str, Any]:
    """Return `val.metrics` as the installed option files have it."""
    common = {"crop_border": scale, "test_y_channel": True}
    return {name: {"type": f"calculate_{name}", **common} for name in ("psnr", "ssim")}


@cache
def pictures(name: str, scale: int) -> Any:
    """Return a test set; CompSRTError where it is not there."""
    found = {"name": name, "type": "CompSRTPairedDataset", "phase": "test", "scale": scale, "strict_data": True}
    embedded = {"embedded": "demo"} if name == EMBEDDED else {}
    return build_dataset({**found, **embedded, "io_backend": {"type": "disk"}})


@lru_cache(maxsize=1)
def network_of(path: Path) -> PackedNetwork:
    """Return a packed file's network; the last one is kept."""
    return open_packed(path)


@lru_cache(maxsize=1)
def runner_of(path: Path, engine: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what runs a packed file's network: the engine if asked for, where it can, else the network itself."""
    network = network_of(path).network
    return Engine(network, threads=1) if runner_name(network, engine) == "engine" else network


def runner_name(network: torch.nn.Module, engine: bool) -> str:
    """Return `engine`, or `simulated` for the network in PyTorch with fake quantization."""
    return "engine" if engine and unsupported_reason(network) is None else "simulated"


@lru_cache(maxsize=1)
def teacher_of(path: Path, like: Path) -> torch.nn.Module:
    """Return the full-precision network of the shape that a packed file has."""
    from basicsr.archs import build_network

    arch = {key: value for key, value in network_of(like).header.arch.items() if key != "quant"}
    network = build_network(arch)
    load_full_precision(network, str(path))
    return network.eval()


def upscale(network: Callable[[torch.Tensor], torch.Tensor], window: Any, lq: torch.Tensor, scale: int) -> np.ndarray:
    """Return what a network of that window makes of (1, 3, h, w), as (h * scale, w * scale, 3) uint8, BGR."""
    tile = choose_tile(network, lq.shape[2:], scale=scale, window=window, device=lq.device)
    return to_image(super_resolve(network, lq, scale=scale, window=window, padding=PADDING, tile=tile))


def work(task: Task) -> tuple[Scores, dict[str, int]]:
    """Judge a task's pictures; return their scores, and the codes counted on the set's first picture."""
    network, dataset = network_of(task.file).network, pictures(task.dataset, task.scale)
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
        scores.append((name, {method: score(picture, original, task.scale) for method, picture in made.items()}))
        if index == 0:
            top, left = (max(0, (size - COUNTED_PATCH) // 2) for size in lq.shape[2:])
            patch = lq[:, :, top : top + COUNTED_PATCH, left : left + COUNTED_PATCH]
            counts = distinct_codes(network, [pad_to_windows(patch, cast(int, window), PADDING)])
    return scores, counts


def score(picture: np.ndarray, original: np.ndarray, scale: int) -> Score:
    """Return PSNR and SSIM by BasicSR."""
    pair = {"img": picture, "img2": original}
    return Score(**{name: calculate_metric(pair, dict(metric)) for name, metric in metrics(scale).items()})


def tasks_of(file: Path, teacher: Path, sets: list[str], scale: int, engine: bool) -> Iterator[Task]:
    """Cut a file's judging into tasks."""
    for name in sets:
        count = len(pictures(name, scale))
        for begin in range(0, count, PICTURES_A_TASK):
            yield Task(file, teacher, name, scale, begin, min(count, begin + PICTURES_A_TASK), engine)


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
    """Return the command that judges this file alone, without the machine's own folders."""
    words = ["python", "benchmarks/recipes.py", "judge", file.name, "--results", args.results.name]
    return shlex.join([*words, "--data", "DATASETS", "--sets", *args.sets, *(["--engine"] if args.engine else [])])


def calibration(file: Path, sha256: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of how long a calibration took: `cpu_seconds` and `iterations`, None where it is not."""
    beside = file.with_suffix(".json")
    told: Mapping[str, Any] = provenance
    if beside.is_file():
        found = json.loads(beside.read_text())
        told = found if found.get("sha256") == sha256 else provenance
    return {key: told.get(key) for key in ("cpu_seconds", "iterations")}


def is_judged(file: Path, sets: list[str], teacher: str, result: Path) -> bool:
    """Whether a result of this file, on these sets and beside this teacher, is there already."""
    if not result.is_file():
        return False
    found = read_results(result)
    known = {role: record.sha256 for role, record in found.files.items()}
    return known == {"checkpoint": FileRecord.of(file).sha256, "teacher": teacher} and set(sets) <= set(found.datasets)


def judge(args: argparse.Namespace) -> int:
    """Judge what has no result yet; return 1 if a file failed."""
    if args.data:
        os.environ[VARIABLE] = str(args.data.absolute())
    failed = 0
    context = get_context("spawn")  # torch's threads do not live through a fork
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
                    print(f"{file.stem}: made from another teacher than {teacher}", flush=True)
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
                print(f"{file.stem}: {mean_difference(results):+.3f} dB on average", flush=True)
            except Exception as error:  # whatever it was, the other files go on
                print(f"{file}: {type(error).__name__}: {error}", flush=True)
                failed += 1
    return 1 if failed else 0


def differences(results: Results, name: str) -> tuple[float, float]:
    """Return PSNR (dB) and SSIM of a set's quantized pictures less the teacher's, means."""
    found = results.datasets[name].mean
    assert found.teacher is not None and found.teacher.ssim is not None and found.quantized.ssim is not None
    return found.quantized.psnr - found.teacher.psnr, found.quantized.ssim - found.teacher.ssim


def mean_difference(results: Results) -> float:
    """Return the mean over the sets of the PSNR differences, in dB."""
    return sum(differences(results, name)[0] for name in results.datasets) / len(results.datasets)


def markdown(found: list[Results]) -> str:
    """Return one table for each scale: a row for the teacher, then one for each file, best first within a width."""
    lines = ["# Recipes × bits", "", "Written by `python benchmarks/recipes.py table` from result files: PSNR (dB) and"]
    lines += ["SSIM less the teacher's, on Y, border = scale, reflect padding; mean is that of the sets' PSNR."]
    lines += ["Codes are the most that any quantizer of the nominal width used. Weights `trained`: changed, not only"]
    lines += ["bounds; published methods keep them. CPU seconds are those of the calibration, bound search included."]
    for scale in sorted({results.scale for results in found}):
        ours = [results for results in found if results.scale == scale]
        sets = list(dict.fromkeys(name for results in ours for name in results.datasets))
        lines += ["", f"## x{scale}", ""]
        columns = ["bits", "recipe", *sets, "mean", "codes", "weights", "bytes", "CPU s", "iterations", "file"]
        lines.append(f"| {' | '.join(columns)} |")
        lines.append("| ---: | --- |" + " ---: |" * (len(sets) + 2) + " --- | ---: | ---: | ---: | --- |")
        first = ours[0]
        cells = [teacher_cell(first, name) for name in sets]
        lines.append(f"| 32 | teacher | {' | '.join(cells)} | | | | {first.float_bytes:,} | | | |")
        for results in sorted(ours, key=lambda r: (r.bits, -mean_difference(r))):
            lines.append(row(results, sets))
    return "\n".join(lines) + "\n"


def teacher_cell(results: Results, name: str) -> str:
    """Return the teacher's own PSNR / SSIM on a set."""
    found = results.datasets[name].mean.teacher if name in results.datasets else None
    return "" if found is None else f"{found.psnr:.2f} / {found.ssim:.4f}"


def row(results: Results, sets: list[str]) -> str:
    """Return a file's line."""
    cells = [str(results.bits), f"`{results.recipe}`"]
    for name in sets:
        cells.append("{:+.3f} / {:+.4f}".format(*differences(results, name)) if name in results.datasets else "")
    took = results.extra.get("calibration", {})
    seconds, iterations = took.get("cpu_seconds"), took.get("iterations")
    cells += [f"{mean_difference(results):+.3f}", str(results.max_distinct_codes)]
    cells += ["trained" if results.weights_trained else "kept", f"{results.bytes:,}"]
    cells += ["" if seconds is None else f"{seconds:,.0f}", "" if iterations is None else f"{iterations:,}"]
    cells.append(results.name)
    return f"| {' | '.join(cells)} |"


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
    judging.add_argument("--engine", action="store_true", help="run in the engine what it can run")
    judging.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    table = commands.add_parser("table", help="write the Markdown table")
    table.add_argument("--results", type=Path, required=True)
    table.add_argument("--out", type=Path, default=None, help="file to write (default: the terminal)")
    args = parser.parse_args()
    if args.command == "judge":
        return judge(args)
    found = [read_results(path) for path in sorted(args.results.glob("*.json"))]
    if not found:
        sys.stderr.write(f"no results in {args.results}: python benchmarks/recipes.py judge …\n")
        return 2
    if args.out:
        write_whole(args.out, markdown(found).encode())
    else:
        print(markdown(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
