"""Measure what each switch of a recipe contributes: one switch at a time, at equal CPU time, on held-out images.

    python benchmarks/ablation.py run --results DIR --train BSD400 [--bases plus compsrt] [--bits 2 3]
                                      [--switches all] [--seconds 900] [--seeds 0] [--jobs 2] [--keep] [--set …]
    python benchmarks/ablation.py table [--results benchmarks/ablation_results] [--out docs/notes/ablation.md]

`run` calibrates each base as it is and with each switch inverted. Each run has one process and one thread, and `--jobs`
run at a time. It writes NAME.json and NAME.log for each run and skips runs that have a result, so it can be stopped and
continued. A run that fails is reported and the others go on. `--switches none` runs the bases only: with
`--bases dobi 2dquant condiquant compsrt compsrt-paper plus --keep` these are the files that `recipes.py judge` takes.

`--train` is a folder of original images, of which a tenth is held out by a hash of the names. The middle 64 x 64
low-resolution pixels of those are judged, or of the images in `--held-out DIR` (which must belong to that tenth).
`--set` takes entries as `--force_yml` does and needs `--name`, a word that goes into the runs' names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compsrt_plugin.files import write_whole

BOUNDS_ONLY = ("minmax", "percentile", "dobi")
ABSOLUTE_LR = "train:optim_g:lr=1e-2"  # as published; the option files' rate is one in units of the range
Settings = dict[str, Any]


@dataclass(frozen=True)
class Switch:
    """One part of a recipe that can be on or off.

    Attributes:
        about: description for the table.
        on, off: entries as `--force_yml` takes them.
        is_on: whether settings (of `timed_run.settings`) have it.
    """

    about: str
    on: list[str]
    off: list[str]
    is_on: Callable[[Settings], bool]


def _map_transform(settings: Settings) -> str:
    spec = settings["quant"]["spec"]
    return spec["overrides"].get("*.map", {}).get("transform", spec["activation"]["transform"])


SWITCHES: dict[str, Switch] = {
    "signs": Switch(
        "sign vector before the Hadamard transform (except the map's)",
        ["quant:weight:transform=hadamard_signed", "quant:activation:transform=hadamard_signed"],
        ["quant:weight:transform=hadamard", "quant:activation:transform=hadamard"],
        lambda s: s["quant"]["spec"]["weight"]["transform"] == "hadamard_signed",
    ),
    "per_channel": Switch(
        "one weight scale per output channel",
        ["quant:weight:granularity=per_channel"],
        ["quant:weight:granularity=per_tensor"],
        lambda s: s["quant"]["spec"]["weight"]["granularity"] == "per_channel",
    ),
    "per_token": Switch(
        "per-token scales: activations in units of each token's largest magnitude",
        ["quant:activation:granularity=per_token"],
        ["quant:activation:granularity=per_tensor"],
        lambda s: s["quant"]["spec"]["activation"]["granularity"] == "per_token",
    ),
    "softmax": Switch(
        "softmax map without its known Hadamard coefficient",
        ["quant:overrides={'*.map': {transform: hadamard_softmax}}"],
        ["quant:overrides={'*.map': {transform: hadamard}}"],
        lambda s: _map_transform(s) == "hadamard_softmax",
    ),
    "decomposition": Switch(
        "scalar decomposition (α, β) of activations",
        ["quant:activation:scalar_decomposition=true"],
        ["quant:activation:scalar_decomposition=false"],
        lambda s: s["quant"]["spec"]["activation"]["scalar_decomposition"],
    ),
    "rounding": Switch(
        "weights rounded so that errors compensate each other (GPTQ)",
        ["quant:rounding=gptq"],
        ["quant:rounding=nearest"],
        lambda s: s["quant"]["rounding"] == "gptq",
    ),
    "equalization": Switch(
        "inputs of linear layers shifted and scaled by the norms before them",
        ["quant:equalization=true"],
        ["quant:equalization=false"],
        lambda s: s["quant"]["equalization"],
    ),
    "bias_correction": Switch(
        "the output's mean error subtracted from the last bias",
        ["quant:bias_correction=true"],
        ["quant:bias_correction=false"],
        lambda s: s["quant"]["bias_correction"],
    ),
    "train_weights": Switch(
        "weights trained too",
        ["distill:train_weights=true", "distill:lr_weights=1e-4"],
        ["distill:train_weights=false"],
        lambda s: s["distill"]["train_weights"],
    ),
    "relative_lr": Switch(
        "learning rates in units of each range (without: 1e-2, as published)",
        ["distill:relative_lr=true"],
        ["distill:relative_lr=false"],
        lambda s: s["distill"]["relative_lr"],
    ),
    "ema": Switch(
        "moving average of the trained values (decay 0.98)",
        ["train:ema_decay=0.98"],
        ["train:ema_decay=0"],
        lambda s: s["train"]["ema_decay"] > 0,
    ),
    "warmup": Switch(
        "warm-up of 20 iterations",
        ["train:warmup_iter=20"],
        ["train:warmup_iter=-1"],
        lambda s: s["train"]["warmup_iter"] > 0,
    ),
    "feature": Switch(
        "feature term of the loss (weight 5)",
        ["distill:feature_weight=5"],
        ["distill:feature_weight=0"],
        lambda s: s["distill"]["feature_weight"] > 0,
    ),
    "conv8": Switch(
        "convolutions at 8 bits",
        ["quant:conv_bits=8"],
        ["quant:conv_bits=null"],
        lambda s: s["quant"]["spec"]["conv_bits"] is not None,
    ),
}


@dataclass(frozen=True)
class Variant:
    """One run.

    Attributes:
        base: recipe.
        bits, scale, seed: of the run.
        switch: turned the other way; None for the base itself.
        entries: what is changed in the installed option file.
        name: of its files.
        turned_on: whether the switch is on now; None without one.
    """

    base: str
    bits: int
    scale: int
    seed: int
    switch: str | None
    entries: list[str]
    name: str
    turned_on: bool | None


def variant(base: str, bits: int, seed: int, switch: str | None, args: argparse.Namespace) -> Variant:
    """Return what a run changes in the installed option file, and its name."""
    from timed_run import options, settings

    entries = [f"quant:recipe={base}", f"manual_seed={seed}", f"datasets:train:dataroot_gt={args.train}"]
    entries += [f"datasets:val:dataroot_gt={args.held_out or args.train}"]
    entries += ["datasets:val:subset=null"] if args.held_out else []
    changes: list[str] = []
    turned_on = None
    if switch is not None:
        chosen = SWITCHES[switch]
        turned_on = not chosen.is_on(settings(options(args.scale, bits, [*entries, *args.set])))
        changes = chosen.on if turned_on else chosen.off
    relative = settings(options(args.scale, bits, [*entries, *args.set, *changes]))["distill"]["relative_lr"]
    entries += [*([] if relative else [ABSOLUTE_LR]), *args.set, *changes]
    word = "" if switch is None else f"_{'with' if turned_on else 'without'}_{switch}"
    name = f"{base}{'_' + args.name if args.name else ''}_x{args.scale}_{bits}bit{word}_s{seed}"
    return Variant(base, bits, args.scale, seed, switch, entries, name, turned_on)


def run_one(args: argparse.Namespace) -> None:
    """Calibrate one variant in this process and write its result."""
    import torch
    from timed_run import Budget, options, run

    torch.set_num_threads(args.threads)
    one = Variant(**json.loads(args.one))
    keep = args.results / f"{one.name}.safetensors" if args.keep else None
    trained = one.base not in BOUNDS_ONLY
    opt = options(one.scale, one.bits, one.entries)
    found = run(opt, Budget(args.seconds, args.iterations), trained, keep)
    told = {"name": one.name, "base": one.base, "switch": one.switch, "turned_on": one.turned_on, "tag": args.name}
    result = {**told, "entries": [e for e in one.entries if "dataroot" not in e], **found}
    write_whole(args.results / f"{one.name}.json", json.dumps(result, indent=1).encode() + b"\n")


def run_all(args: argparse.Namespace) -> int:
    """Run the variants without a result; return 1 if one failed."""
    wanted = {"all": list(SWITCHES), "none": []}.get(args.switches[0], args.switches)
    turns = [None, *wanted]
    asked = [
        variant(base, bits, seed, switch, args)
        for seed in args.seeds
        for bits in args.bits
        for base in args.bases
        for switch in (turns if base not in BOUNDS_ONLY else [None])
    ]
    todo = [one for one in asked if not (args.results / f"{one.name}.json").is_file()]
    print(f"{len(asked)} runs, {len(asked) - len(todo)} have their result", flush=True)
    args.results.mkdir(parents=True, exist_ok=True)

    def start(one: Variant) -> bool:
        budget = ["--iterations", str(args.iterations)] if args.iterations else ["--seconds", str(args.seconds)]
        flags = [*budget, "--threads", str(args.threads), *(["--keep"] if args.keep else [])]
        command = [sys.executable, __file__, "run", "--results", str(args.results), "--train", args.train]
        command += ["--name", args.name, "--one", json.dumps(vars(one)), *flags]
        environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        with open(args.results / f"{one.name}.log", "wb") as log:
            code = subprocess.run(command, stdout=log, stderr=log, env=environment).returncode
        print(f"{one.name}: {'done' if code == 0 else f'FAILED ({code}), see its log'}", flush=True)
        return code == 0

    with ThreadPoolExecutor(args.jobs) as executor:
        done = list(executor.map(start, todo))
    return 0 if all(done) else 1


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return every result in a folder, by name."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [result for result in found if "to_teacher" in result]


def mean(results: Iterable[dict[str, Any]], key: str) -> float:
    """Return the mean of a number over runs that differ in their seed."""
    values = [float(result[key]) for result in results]
    return sum(values) / len(values)


def tables(results: list[dict[str, Any]]) -> str:
    """Return the Markdown: one table for each base and width."""
    lines: list[str] = []
    groups = sorted({(r["scale"], r["bits"], r["tag"], r["base"]) for r in results})
    for scale, bits, tag, base in groups:
        ours = [r for r in results if (r["scale"], r["bits"], r["tag"], r["base"]) == (scale, bits, tag, base)]
        plain = [r for r in ours if r["switch"] is None]
        if not plain or len(ours) == len(plain):
            continue
        lines += ["", f"## x{scale}, {bits} bits, from `{base}`{f' ({tag})' if tag else ''}", ""]
        lines += ["| variant | runs | held out, dB | against the base | to the teacher, dB | against the base "]
        lines[-1] += "| iterations | bytes |"
        lines += ["| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", row(f"`{base}`", plain, plain)]
        for switch in [name for name in SWITCHES if any(r["switch"] == name for r in ours)]:
            turned = [r for r in ours if r["switch"] == switch]
            sign = "with" if turned[0]["turned_on"] else "without"
            lines.append(row(f"{sign}: {SWITCHES[switch].about}", turned, plain))
    return "\n".join(lines) + "\n"


def row(title: str, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    """Return one line of a table; differences are to the base's runs with the same seeds."""
    seeds = {r["seed"] for r in runs}
    same = [r for r in base if r["seed"] in seeds] or base
    cells = [title, str(len(runs))]
    for key in ("psnr", "to_teacher"):
        value = mean(runs, key)
        cells += [f"{value:.3f}", "" if runs is base else f"{value - mean(same, key):+.3f}"]
    cells += [f"{mean(runs, 'iterations'):,.0f}", f"{mean(runs, 'bytes'):,.0f}"]
    return f"| {' | '.join(cells)} |"


HEAD = """\
# What each switch brings

Written by `python benchmarks/ablation.py table` from the result files in `{folder}`, which `python
benchmarks/ablation.py run` measured on 2026-11-28. Each line is the base with one switch inverted, calibrated for
{seconds} on one thread, bound search included. This is the process's own time; on a shared machine it still holds
fewer iterations, so the column of iterations belongs to the comparison. Training images are BSD400 except a held-out
tenth. The middle {centre}x{centre} low-resolution pixels of {images} of those are judged on Y: PSNR to the originals
(the teacher reaches {teacher:.3f} dB), and PSNR to the teacher's output, which shows smaller differences. No test image
is used. The last iteration is judged; none is chosen.

Noise: {noise}
"""


def page(results: list[dict[str, Any]], folder: str) -> str:
    """Return the Markdown page of the results in a folder of that name."""
    from timed_run import CENTRE

    seconds = {f"{r['budget']['iterations'] or round(r['budget']['seconds'])}" for r in results}
    unit = "iterations" if results[0]["budget"]["iterations"] else "CPU seconds"
    head = HEAD.format(
        folder=folder,
        seconds=f"{' or '.join(sorted(seconds, key=int))} {unit}",
        centre=CENTRE,
        images=len(results[0]["held_out"]),
        teacher=results[0]["teacher_psnr"],
        noise=noise(results),
    )
    return head + tables(results)


def write_table(args: argparse.Namespace) -> int:
    """Write the Markdown file from the results."""
    results = read_results(args.results)
    if not results:
        sys.stderr.write(f"no results in {args.results}: python benchmarks/ablation.py run --results …\n")
        return 2
    write_whole(args.out, page(results, args.results.name).encode())
    return 0


def noise(results: list[dict[str, Any]]) -> str:
    """Return how far runs of the same variant with different seeds lie apart."""
    spreads = []
    for key in {(r["scale"], r["bits"], r["tag"], r["base"], r["switch"]) for r in results}:
        same = [r for r in results if (r["scale"], r["bits"], r["tag"], r["base"], r["switch"]) == key]
        if len(same) > 1:
            spreads.append(max(r["psnr"] for r in same) - min(r["psnr"] for r in same))
    if not spreads:
        return "one run per variant; how far runs with different seeds lie apart was not measured."
    return f"runs of one variant with different seeds lie up to {max(spreads):.3f} dB apart (held out)."


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="calibrate the variants without a result")
    runs.add_argument("--results", type=Path, required=True, help="folder of the result files")
    runs.add_argument("--train", required=True, help="folder of training images, originals")
    runs.add_argument("--held-out", default=None, help="folder of the images to judge, instead of the held-out tenth")
    runs.add_argument("--bases", nargs="+", default=["plus", "compsrt"], metavar="RECIPE")
    runs.add_argument("--bits", nargs="+", type=int, default=[2, 3])
    runs.add_argument("--scale", type=int, default=4)
    runs.add_argument("--switches", nargs="+", default=["all"], choices=["all", "none", *SWITCHES])
    runs.add_argument("--seconds", type=float, default=900, help="CPU seconds per run (default 900)")
    runs.add_argument("--iterations", type=int, default=None, help="a number of iterations instead")
    runs.add_argument("--seeds", nargs="+", type=int, default=[0])
    runs.add_argument("--jobs", type=int, default=1, help="number of runs at a time")
    runs.add_argument("--threads", type=int, default=1, help="threads per run")
    runs.add_argument("--keep", action="store_true", help="keep NAME.safetensors beside NAME.json")
    runs.add_argument("--set", nargs="+", default=[], metavar="BLOCK:KEY=VALUE", help="changes to every run")
    runs.add_argument("--name", default="", help="a word for the names of runs with --set")
    runs.add_argument("--one", help=argparse.SUPPRESS)
    table = commands.add_parser("table", help="write the Markdown table")
    table.add_argument("--results", type=Path, default=Path("benchmarks/ablation_results"), help="their folder")
    table.add_argument("--out", type=Path, default=Path("docs/notes/ablation.md"))
    args = parser.parse_args()
    if args.command == "table":
        return write_table(args)
    if args.one:
        run_one(args)
        return 0
    if bool(args.set) != bool(args.name):
        parser.error("--set and --name belong together")
    return run_all(args)


if __name__ == "__main__":
    sys.exit(main())
