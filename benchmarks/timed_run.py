"""Calibrate SwinIR-light within a budget of CPU seconds, and judge it on the middle of held-out images.

It runs `CompSRTModel` as `basicsr train` builds it, from an installed option file and entries as for `--force_yml`.
Only the schedule follows the time spent instead of the number of iterations, so that a slow variant gets as far down
its cosine as a fast one. Time is the CPU time of this process, all threads together. On a shared machine it holds
fewer iterations all the same (61 to 81 were seen), since caches are shared too.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

import compsrt_plugin
from compsrt_plugin.config.files import find_option_file
from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.config.quant_options import resolve, resolve_distill
from compsrt_plugin.config.reader import read_option_file

compsrt_plugin.register()

from basicsr.data import build_dataset  # noqa: E402  (needs the repairs of `register`)
from basicsr.metrics import calculate_psnr  # noqa: E402

from compsrt_plugin.data.draws import DrawnImages, DrawSampler  # noqa: E402
from compsrt_plugin.models.compsrt_model import CompSRTModel  # noqa: E402
from compsrt_plugin.models.evaluation import to_image  # noqa: E402
from compsrt_plugin.quant import distinct_codes, named_quantizers  # noqa: E402
from compsrt_plugin.report import FileRecord  # noqa: E402
from compsrt_plugin.training.run import TrainingRun  # noqa: E402

ENDLESS = 1_000_000  # iterations; the time ends the run first
CENTRE = 64  # low-resolution pixels of each held-out image that are judged


@dataclass(frozen=True)
class Budget:
    """The end of a run: after a number of CPU seconds, bound search included, or of iterations.

    Attributes:
        seconds: of this process, all threads together.
        iterations: replaces the seconds where given.
    """

    seconds: float
    iterations: int | None = None

    def share(self, seconds: float, iterations: int) -> float:
        """Return the share that is used up, from 0; 1 or more is the end."""
        return iterations / self.iterations if self.iterations else seconds / self.seconds


@dataclass(frozen=True)
class HeldOut:
    """The middle of an image: low resolution, original, and the teacher's output."""

    name: str
    lq: Tensor
    gt: Tensor
    teacher: Tensor


def options(scale: int, bits: int, entries: list[str]) -> dict[str, Any]:
    """Return the content of the installed train file for x`scale` and `bits` with the entries applied."""
    found = read_option_file(find_option_file(f"compsrt_x{scale}_{bits}bit", "train"))
    apply_force_yml(found, entries)
    return found


def settings(opt: dict[str, Any]) -> dict[str, Any]:
    """Return an option file's blocks merged over those of the recipe, as plain values."""
    quant = resolve(opt["quant"], pruned=opt.get("prune") is not None)
    train = opt["train"]
    return {
        "quant": quant.to_dict(),
        "distill": msgspec.structs.asdict(resolve_distill(quant.recipe, opt.get("distill"))),
        "train": {
            "lr": train["optim_g"]["lr"],
            "warmup_iter": train.get("warmup_iter", -1),
            "ema_decay": train.get("ema_decay") or 0,
            "batch": opt["datasets"]["train"]["batch_size_per_gpu"],
            "gt_size": opt["datasets"]["train"]["gt_size"],
        },
        "prune": opt.get("prune"),
    }


def prepared(opt: dict[str, Any], folder: Path, trained: bool) -> dict[str, Any]:
    """Return the options as BasicSR's pipeline hands them to the model; results go to `folder`."""
    train = dict(opt["train"], total_iter=ENDLESS if trained else 0)
    train["scheduler"] = {k: v for k, v in train["scheduler"].items() if k not in ("periods", "restart_weights")}
    paths = dict(opt["path"], resume_state=None, experiments_root=str(folder), models=str(folder))
    datasets = {phase: dict(data, phase=phase, scale=opt["scale"]) for phase, data in opt["datasets"].items()}
    known = {"is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": 0, "val": None}
    return {**opt, **known, "train": train, "path": paths, "datasets": datasets}


def run(opt: dict[str, Any], budget: Budget, trained: bool, keep: Path | None) -> dict[str, Any]:
    """Calibrate, judge, and return the result as JSON holds it.

    Args:
        opt: of `options`.
        budget: when training ends.
        trained: false stops after the bound search.
        keep: path of the packed file; None deletes it after measuring.
    """
    found = settings(opt)
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep.parent if keep else Path(scratch)
        opt = prepared({**opt, "name": keep.stem if keep else "run"}, folder, trained)
        torch.manual_seed(opt["manual_seed"])
        began = time.process_time()
        model = CompSRTModel(opt)
        searched = time.process_time() - began
        images = held_out(model, opt["datasets"]["val"])
        curve = [{"seconds": searched, "iterations": 0, **judge(model, images)}]
        seconds = searched + (distil(model, opt, budget, searched) if trained else 0.0)
        model.save(-1, -1)
        run = running(model)
        iterations = run.trainer.iteration if run.trainer else 0
        curve.append({"seconds": seconds, "iterations": iterations, **judge(model, images)})
        widths = {q.name: q.spec.bits for _, q in named_quantizers(model.net_g)}
        counts = distinct_codes(model.net_g, [images[0].lq])
        packed = FileRecord.of(run.result_path)
    return {
        "settings": found,
        "scale": opt["scale"],
        "bits": found["quant"]["bits"],
        "recipe": found["quant"]["recipe"],
        "seed": opt["manual_seed"],
        "weights_trained": run.task.trains_weights,
        "budget": dataclasses.asdict(budget),
        "search_seconds": searched,
        "cpu_seconds": seconds,
        "iterations": iterations,
        "bounds_only": {key: curve[0][key] for key in ("psnr", "to_teacher")},
        "psnr": curve[-1]["psnr"],
        "to_teacher": curve[-1]["to_teacher"],
        "teacher_psnr": sum(psnr(p.teacher, p.gt, opt["scale"]) for p in images) / len(images),
        "held_out": [image.name for image in images],
        "bytes": packed.bytes,
        "sha256": packed.sha256,
        "teacher_sha256": run.identity["teacher"],
        "most_codes": max(count for name, count in counts.items() if widths[name] == found["quant"]["bits"]),
        "threads": torch.get_num_threads(),
    }


def running(model: CompSRTModel) -> TrainingRun:
    """Return the model's training run."""
    assert model.run is not None
    return model.run


def distil(model: CompSRTModel, opt: dict[str, Any], budget: Budget, spent: float) -> float:
    """Run iterations until the budget is used up; return their CPU seconds."""
    trainer = running(model).trainer
    assert trainer is not None
    data = opt["datasets"]["train"]
    images: Any = build_dataset(data)
    draws = iter(DrawSampler(len(images), opt["manual_seed"], 0, ENDLESS * data["batch_size_per_gpu"]))
    drawn, rates = DrawnImages(images), [group["lr"] for group in model.optimizer_g.param_groups]
    warmup, least = max(0, opt["train"].get("warmup_iter", -1)), float(opt["train"]["scheduler"].get("eta_min", 0))
    began = time.process_time()
    while (share := budget.share(spent + time.process_time() - began, trainer.iteration)) < 1:
        factor = min(1.0, (trainer.iteration + 1) / (warmup + 1)) * (1 + math.cos(math.pi * share)) / 2
        for group, rate in zip(model.optimizer_g.param_groups, rates):
            group["lr"] = max(least, rate * factor)
        batch = [drawn[next(draws)] for _ in range(data["batch_size_per_gpu"])]
        lq, gt = (torch.stack([pair[key] for pair in batch]) for key in ("lq", "gt"))
        trainer.step(model.optimizer_g, lq, gt)
    return time.process_time() - began


def held_out(model: CompSRTModel, data: dict[str, Any]) -> list[HeldOut]:
    """Return the middles of the held-out images, with the teacher's output."""
    dataset: Any = build_dataset({**data, "centre_patch": CENTRE})
    pairs = [(Path(pair["gt_path"]).stem, pair["lq"][None], pair["gt"][None]) for pair in dataset]
    return [HeldOut(name, lq, gt, model.run_network(model.teacher, lq)) for name, lq, gt in pairs]


def judge(model: CompSRTModel, images: list[HeldOut]) -> dict[str, float]:
    """Return the mean PSNR in dB (Y, border = scale) to the originals and to the teacher's outputs."""
    run, scale = running(model), model.opt["scale"]

    def outputs() -> list[Tensor]:
        return [model.run_network(model.net_g.eval(), image.lq) for image in images]

    if run.trainer is None or run.finished:
        made = outputs()
    else:
        with run.trainer.parameters.candidate_loaded():
            made = outputs()
    count = len(images)
    return {
        "psnr": sum(psnr(output, image.gt, scale) for output, image in zip(made, images)) / count,
        "to_teacher": sum(psnr(output, image.teacher, scale) for output, image in zip(made, images)) / count,
    }


def psnr(output: Tensor, wanted: Tensor, border: int) -> float:
    """Return the PSNR of two images (1, 3, h, w) by BasicSR, on Y."""
    return float(calculate_psnr(to_image(output), to_image(wanted), crop_border=border, test_y_channel=True))
