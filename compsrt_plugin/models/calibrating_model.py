"""The training side of `CompSRTModel`: bound search, the iterations of calibration, states, the packed result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from basicsr.data import build_dataloader, build_dataset
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from compsrt_plugin.config.recipes import resolve_distill
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.models.evaluation import Judge
from compsrt_plugin.networks import versions
from compsrt_plugin.packed.header import pack_options
from compsrt_plugin.packed.network_state import round_unquantized, save_network
from compsrt_plugin.processes import wait_for_all
from compsrt_plugin.quant import freeze
from compsrt_plugin.quant.passes.bias_correction import BiasCorrection
from compsrt_plugin.report import DatasetScores, Results, Score
from compsrt_plugin.training.calibrator import (
    CalibrationPatches,
    Pruning,
    condition_weights,
    equalize_inputs,
    guard_activations,
    round_weights,
    search_bounds,
)
from compsrt_plugin.training.data import fingerprints, numbered_draws
from compsrt_plugin.training.loss_curve import save_curve
from compsrt_plugin.training.option_text import option_text
from compsrt_plugin.training.progress_bar import Progress
from compsrt_plugin.training.resuming import ResumableModel
from compsrt_plugin.training.selection import named_as_test_sets
from compsrt_plugin.training.train_block import checked_train_block
from compsrt_plugin.training.trainer import Training


class Stopped(Exception):
    """Somebody asked to stop while held-out pictures were judged."""


class CalibratingModel(ResumableModel):
    """What `CompSRTModel` does in BasicSR's training pipeline; the class that loads and judges builds on it.

    BasicSR's loop calls, for every iteration, `update_learning_rate`, `feed_data`, `optimize_parameters`, then
    where due `save` and `validation`; at the end `save` with -1 and a last `validation`. A state is written
    before the validation of its iteration, and a resumed run begins with the validation that is owed.

    Attributes:
        finished: whether the result is written, and `net_g` is frozen.
        target: what a stronger network makes of the batch, where the data set has it.
    """

    judge: Judge
    finished = False
    target: Tensor | None = None

    @classmethod
    def train_loader(cls, opt: dict[str, Any], loader: Any, val_loaders: Any, iterations: int) -> tuple[Any, Any]:
        """Return the loader of training patches and its sampler: each patch depends on its number alone."""
        opt["pictures"] = fingerprints(loader, val_loaders)
        cls.prepare_pictures(opt, loader.dataset)
        return numbered_draws(opt, loader, iterations)

    @classmethod
    def prepare_pictures(cls, opt: Mapping[str, Any], dataset: Any) -> None:
        """Do to the training pictures, before patches are cut from them, what the option file asks for: nothing."""

    @property
    def teacher(self) -> nn.Module:
        """The full-precision network, in eval mode, without gradients."""
        raise NotImplementedError

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move the network to this process's device; gradients are averaged by `Training`, not by a wrapper."""
        return net.to(self.device)

    @property
    def choosing(self) -> bool:
        """Whether pictures are judged in order to choose between iterations, not for a report."""
        return self.training is not None and not self.finished

    @property
    def trains_weights(self) -> bool:
        """Whether weights are trained, or changed before, not bounds alone."""
        if self.quant is not None and self.quant.conditioning is not None:
            return True
        return self.training is not None and self.training.distillation.block.train_weights

    @property
    def _total(self) -> int:
        return int(self.opt["train"]["total_iter"])

    def init_training_settings(self) -> None:
        """Search the bounds of all quantizers on patches of the train data set; a resumed run has them already.

        Raises:
            CompSRTError: options that cannot be used.
        """
        assert self.quant is not None
        self.check_training()
        get_root_logger().info(f"Quantization: {self.quant.to_dict()}")
        network: Any = self.net_g.eval()
        network.quantize(self.quant.spec)
        patches = self.calibration_patches
        self.pruning = Pruning(network, self.opt.get("prune"), patches)
        if self.opt["path"].get("resume_state"):
            return
        if self.quant.conditioning is not None:
            condition_weights(network, patches, self.quant.conditioning)
        if self.quant.equalization:
            equalize_inputs(network, patches)
        self.pruning.at(0)
        search_bounds(network, patches)
        if self.quant.guard is not None:
            self.raised = guard_activations(network, patches, self.quant.guard)
        if self.quant.rounding == "gptq":
            round_weights(network, patches)
        if not self._total:  # bounds are all: the bias is corrected for what the file will hold
            round_unquantized(network)
        if self.bias_correction is not None:
            change = self.bias_correction.apply()
            get_root_logger().info(f"Bias of {self.bias_correction.name} corrected by at most {change:.2g}")
        if self._total:
            self.begin()

    def check_training(self) -> None:
        """Check the `train:` block, and warn where a test set would choose the result.

        Raises:
            CompSRTError: see `checked_train_block`.
        """
        self.opt["train"] = checked_train_block(self.opt)
        self._held_out: dict[str, DatasetScores | None] = {}  # at the present iteration; None: it is not there
        for name in named_as_test_sets(self.opt["datasets"]):
            get_root_logger().warning(
                f"Validation set {name} is a test set: a result chosen by it is not a fair one there"
            )

    def new_training(self, ema_decay: float) -> Training:
        """Return the iterations to be done: what is trained, and what it learns from."""
        assert self.quant is not None
        block = resolve_distill(self.quant.recipe, self.opt.get("distill"))
        return Training(self.net_g, self.teacher, block, ema_decay, correction=self.bias_correction)

    @cached_property
    def bias_correction(self) -> BiasCorrection | None:
        """What puts the mean of the output right, as `quant.bias_correction`; None where nothing shall."""
        assert self.quant is not None
        if not self.quant.bias_correction:
            return None
        return BiasCorrection(self.net_g, self.teacher, list(self.calibration_patches("bias correction")))

    @cached_property
    def calibration_patches(self) -> CalibrationPatches:
        """The patches of all that is done before the first iteration, and of pruning."""
        assert self.quant is not None
        return CalibrationPatches(self.opt, self.quant.calibration, self.device)

    def begin(self) -> None:
        """Make ready what the iterations need: teacher, trained parameters, optimizer, schedule."""
        train = self.opt["train"]
        self.training = self.new_training(train.get("ema_decay") or 0.0)
        block, optim = self.training.distillation.block, dict(train["optim_g"])
        kind, lr = optim.pop("type"), optim.pop("lr")
        self.optimizer_g = self.get_optimizer(kind, self.training.trained.groups(lr), lr, **optim)
        self.optimizers.append(self.optimizer_g)
        schedule = dict(train["scheduler"])
        self.setup_schedulers()  # takes the type out of the block
        train["scheduler"] = schedule
        counts = {name: sum(p.numel() for p in of.values()) for name, of in self.training.trained.kinds.items()}
        get_root_logger().info(f"Distillation: {block}; trained: {counts}")
        features = self.training.distillation.features
        if features is not None:
            get_root_logger().info(f"Distillation compares the outputs of {', '.join(features[0].names)}")

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin iteration `current_iter`: stop if asked to, catch up on validation, set the learning rates."""
        assert self.training is not None
        if self.progress is None:
            self.progress = Progress(self._total, self.training.iteration, self.opt["rank"] == 0)
            self.training.stop.listen()
            if self.training.iteration == 0:
                self.write_state()
            self._validate_if_owed()
        elif self.training.to_stop:
            self.stop()
        super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration.

        Raises:
            CompSRTError: the loss or a gradient is not finite, or the loss exploded.
        """
        assert self.training is not None and self.progress is not None
        self.pruning.at(current_iter)
        try:
            values = self.training.step(self.optimizer_g, self.lq, self.gt, self.target)
        except CompSRTError:
            self.progress.close()
            raise
        self.log_dict = {f"l_{name}": value for name, value in values.items()}
        curve = self.training.choice.curve
        self.progress.show(values, curve[-1][1] if curve else None)

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Judge one data set; during calibration this is what the choice is made by."""
        training = self.training
        if training is None or self.finished:
            super().validation(dataloader, current_iter, tb_logger, save_img)
            return
        try:
            with training.trained.judged():
                super().validation(dataloader, current_iter, tb_logger, save_img)
        except Stopped:
            self.stop()
        name = dataloader.dataset.opt["name"]
        self._held_out[name] = self.judge.results.datasets.get(name)
        if len(self._held_out) == len(self.val_sets()):
            self._offer({name: scores for name, scores in self._held_out.items() if scores is not None})
            self._held_out = {}

    def _offer(self, held_out: Mapping[str, DatasetScores]) -> None:
        """Let the present iteration be chosen by the scores of all held-out data sets that are there."""
        training = self.training
        if training is None or not held_out:
            return
        if training.iteration == 0:
            self.before = [
                (name, image, row.quantized.psnr, row.quantized.ssim)
                for name, scores in held_out.items()
                for image, row in scores.per_image.items()
            ]
        mean = sum(scores.mean.quantized.psnr for scores in held_out.values()) / len(held_out)
        training.offer(mean, training.iteration >= self.pruning.end)
        if self.written == training.iteration:
            self.write_state()  # or a run that goes on from it would judge the same pictures again

    def val_sets(self) -> list[dict[str, Any]]:
        """Return the options of the held-out data sets."""
        return [dataset for phase, dataset in self.opt["datasets"].items() if phase.split("_")[0] == "val"]

    def _validate_if_owed(self) -> None:
        """Judge the present iteration unless that was done: the first, the last, or one due when it was stopped."""
        training, val = self.training, self.opt.get("val")
        if training is None or val is None:
            return
        due = training.iteration in (0, self._total) or training.iteration % int(val["val_freq"]) == 0
        if not due or training.choice.judged == training.iteration:
            return
        for loader in self._held_out_loaders:
            self.validation(loader, training.iteration, None, False)

    @cached_property
    def _held_out_loaders(self) -> list[Any]:
        """Loaders of the held-out data sets; built once, since every picture is read to see whether it is sound."""
        return [build_dataloader(build_dataset(dataset), dataset) for dataset in self.val_sets()]

    def between_pictures(self) -> None:
        """Raise `Stopped` if a signal came; several processes wait for the end of a step, to stop together."""
        if self.training is not None and self.training.stop.signal and self.opt["world_size"] == 1:
            raise Stopped

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the training state; at the end (current_iter -1) the result, `models/NAME.safetensors`."""
        if current_iter != -1:
            self.write_state()
            return
        if self.training is not None:
            self._validate_if_owed()
            self.training.load_result()
            self.training.stop.close()
        if self.progress is not None:
            self.progress.close()
        self.finished = True
        self.write_result()
        if self.opt["rank"] == 0 and self.training is not None:
            save_curve(Path(self.opt["path"]["experiments_root"]) / "curve.png", self.training)
        wait_for_all()  # the others read the file that the first has written

    def write_result(self) -> None:
        """Write the packed file, if this is the first process; all have the network in it afterwards."""
        if self.opt["rank"] == 0:
            size = save_network(self.result_path, self.net_g, self._header())
            get_root_logger().info(f"Packed network: {self.result_path}, {size:,d} bytes")
        else:
            freeze(self.net_g)

    @property
    def result_path(self) -> Path:
        """The packed file that a training ends with."""
        return Path(self.opt["path"]["models"]) / f"{self.opt['name']}.safetensors"

    def add_before(self, results: Results) -> None:
        """Add to a table of the result the same pictures as they were before calibration, bounds searched only."""
        for name, image, psnr, ssim in self.before:
            after = results.datasets[name].per_image[image]
            before = Score(psnr, ssim)
            results.add_image(
                f"{name}, bounds only", image, quantized=before, bicubic=after.bicubic, teacher=after.teacher
            )

    def _header(self) -> Mapping[str, Any]:
        assert self.quant is not None
        identity, training = self.identity, self.training
        iterations = training.iteration if training else 0
        return {
            "arch": identity["network_g"],
            "spec": self.quant.spec.with_bits(self.raised).to_dict(),
            "provenance": {
                "name": self.opt["name"],
                "recipe": self.quant.recipe,
                "prune": identity["prune"],
                "bits": self.quant.bits,
                "weights_trained": self.trains_weights,
                "conditioning": self.quant.conditioning,
                "rounding": self.quant.rounding,
                "equalization": self.quant.equalization,
                "bias_correction": self.quant.bias_correction,
                "iterations": iterations,
                **({"changed": list(self.changed)} if self.changed else {}),
                "chosen": training.choice.provenance(iterations) if training else None,
                "teacher_sha256": identity["teacher"],
                "calibration": self.opt["datasets"]["train"]["name"],
                "seed": self.opt["manual_seed"],
                "options": pack_options(option_text(self.opt)),
                "versions": versions(),
            },
        }
