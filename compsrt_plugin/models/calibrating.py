"""The training side of `CompSRTModel`: bound search, the iterations of calibration, states, the packed result."""

from __future__ import annotations

import copy
import hashlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import nn

from compsrt_plugin import pruning
from compsrt_plugin.checkpoint.network import round_unquantized, save_network
from compsrt_plugin.config.recipes import QuantOptions
from compsrt_plugin.config.schema import CalibrationBlock, DistillBlock, PruneBlock
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.models.calibration import calibration_batches
from compsrt_plugin.models.choice import named_as_test_sets
from compsrt_plugin.models.curve import save_curve
from compsrt_plugin.models.judge import Judge
from compsrt_plugin.models.networks import versions
from compsrt_plugin.models.processes import wait_for_all
from compsrt_plugin.models.progress import Progress
from compsrt_plugin.models.schedule import checked_train_block
from compsrt_plugin.models.state import write_state
from compsrt_plugin.models.training import Training
from compsrt_plugin.quant import Mode, calibrate, freeze, named_quantizers, quantized_layers, set_mode
from compsrt_plugin.report import Results, Score


class Stopped(Exception):
    """Somebody asked to stop while held-out pictures were judged."""


class CalibratingModel(SRModel):
    """What `CompSRTModel` does in BasicSR's training pipeline; the class that loads and judges builds on it.

    BasicSR's loop calls, for every iteration, `update_learning_rate`, `feed_data`, `optimize_parameters`, then
    where due `save` and `validation`; at the end `save` with -1 and a last `validation`. A state is written
    before the validation of its iteration, and a resumed run begins with the validation that is owed.

    Attributes:
        quant: the settled `quant:` block; None only in a test.
        teacher_source: file or URL of the full-precision weights.
        training: the iterations; None where there are none (`total_iter: 0`), and in a test.
        finished: whether the result is written, and `net_g` is frozen.
    """

    quant: QuantOptions | None
    teacher_source: str
    judge: Judge
    training: Training | None = None
    finished = False
    _progress: Progress | None = None
    _before: Sequence[tuple[str, str, float, float | None]] = ()  # data set, picture, its PSNR and SSIM at the start

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
        """Whether weights are trained, not bounds alone."""
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
        logger = get_root_logger()
        self.opt["train"] = checked_train_block(self.opt)
        for name in named_as_test_sets(self.opt["datasets"]):
            logger.warning(f"Validation set {name} is a test set: a result chosen by it is not a fair one there")
        logger.info(f"Quantization: {self.quant.to_dict()}")
        self._held_out: dict[str, float] = {}  # data set -> PSNR at the present iteration
        network: Any = self.net_g.eval()
        network.quantize(self.quant.spec)
        if self.opt["path"].get("resume_state"):
            return
        self._prune(network)
        options = self.quant.calibration
        calibrate(network, calibration_batches(self.opt, options.patches, options.patch_size, self.device))
        logger.info(f"Bounds of {sum(1 for _ in named_quantizers(network))} quantizers searched")
        if self._total:
            self._begin()

    def _prune(self, network: nn.Module) -> None:
        if self.opt.get("prune") is None:
            return
        block = PruneBlock.from_dict(self.opt["prune"])
        calibration = self.quant.calibration if self.quant else CalibrationBlock()
        shares = pruning.prune(
            network,
            block.hook,
            block.ratio,
            block.layers,
            scope=block.scope,
            options=block.options,
            compensate=block.compensate,
            batches=calibration_batches(self.opt, calibration.patches, calibration.patch_size, self.device),
        )
        mean = sum(shares.values()) / len(shares)
        get_root_logger().info(f"Pruned by {block.hook}: {mean:.1%} of the weights of {len(shares)} linear layers")

    def _begin(self) -> None:
        """Make ready what the iterations need: teacher, trained parameters, optimizer, schedule."""
        train = self.opt["train"]
        block = DistillBlock.from_dict(self.opt.get("distill"))
        self.training = Training(self.net_g, self.teacher, block, train.get("ema_decay") or 0.0)
        optim = dict(train["optim_g"])
        kind, lr = optim.pop("type"), optim.pop("lr")
        self.optimizer_g = self.get_optimizer(kind, self.training.trained.groups(lr), lr, **optim)
        self.optimizers.append(self.optimizer_g)
        self.setup_schedulers()
        counts = {name: sum(p.numel() for p in of.values()) for name, of in self.training.trained.kinds.items()}
        get_root_logger().info(f"Distillation: {block}; trained: {counts}")

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Take over a state that `save` wrote.

        Raises:
            CompSRTError: it was written with another teacher, network or quantization.
        """
        for name, ours in self._identity().items():
            if resume_state.get("identity", {}).get(name) != ours:
                raise CompSRTError(
                    f"the state {self.opt['path']['resume_state']} was written with another {name}",
                    hint="resume with the option file it was started with, or start anew without --auto_resume",
                )
        network, values = self.net_g, resume_state["network"]
        for name, layer in quantized_layers(network):
            mask = values.get(f"{name}.weight_mask")
            layer.weight_mask = None if mask is None else torch.ones_like(mask, device=self.device)
        network.load_state_dict(values)
        set_mode(network, Mode.ON)
        self._begin()
        assert self.training is not None
        super().resume_training(resume_state)
        self.training.restore(resume_state)
        self._before = [tuple(row) for row in resume_state["before"]]

    def _identity(self) -> dict[str, Any]:
        """Return what a state must have in common with the run that goes on from it."""
        assert self.quant is not None
        return {
            "teacher": hashlib.sha256(Path(self.teacher_source).read_bytes()).hexdigest(),
            "network_g": {k: v for k, v in self.opt["network_g"].items() if k != "quant"},
            "quant": self.quant.to_dict(),
            "prune": self.opt.get("prune"),
        }

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin iteration `current_iter`: stop if asked to, catch up on validation, set the learning rates."""
        assert self.training is not None
        if self._progress is None:
            self._progress = Progress(self._total, self.training.iteration, self.opt["rank"] == 0)
            self.training.stop.listen()
            if self.training.iteration == 0:
                self._write_state()
            self._validate_if_owed()
        elif self.training.to_stop:
            self._stop()
        super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        """Do one iteration.

        Raises:
            CompSRTError: the loss or a gradient is not finite, or the loss exploded.
        """
        assert self.training is not None and self._progress is not None
        try:
            values = self.training.step(self.optimizer_g, self.lq, self.gt)
        except CompSRTError:
            self._progress.close()
            raise
        self.log_dict = {f"l_{name}": value for name, value in values.items()}
        curve = self.training.choice.curve
        self._progress.show(values, curve[-1][1] if curve else None)

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
            self._stop()
        name = dataloader.dataset.opt["name"]
        scores = self.judge.results.datasets.get(name)
        if scores is None:
            return
        if training.iteration == 0:
            rows = scores.per_image.items()
            self._before = [*self._before, *((name, image, s.quantized.psnr, s.quantized.ssim) for image, s in rows)]
        self._held_out[name] = scores.mean.quantized.psnr
        if len(self._held_out) == len(self.val_sets()):
            training.offer(sum(self._held_out.values()) / len(self._held_out))
            self._held_out = {}

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
        for dataset in self.val_sets():
            loader = build_dataloader(build_dataset(copy.deepcopy(dataset)), dataset)
            self.validation(loader, training.iteration, None, False)

    def between_pictures(self) -> None:
        """Raise `Stopped` if a signal came; several processes wait for the end of a step, to stop together."""
        if self.training is not None and self.training.stop.signal and self.opt["world_size"] == 1:
            raise Stopped

    def _stop(self) -> None:
        """Write the state and leave as the signal asked."""
        assert self.training is not None and self._progress is not None
        self._write_state()
        self._progress.close()
        stop = self.training.stop
        what = signal.Signals(stop.signal).name if stop.signal else "another process"
        get_root_logger().info(
            f"Stopped by {what} after iteration {self.training.iteration}; "
            "the same command with --auto_resume goes on from there"
        )
        raise SystemExit(stop.exit_code)

    def _write_state(self) -> None:
        assert self.training is not None
        if self.opt["rank"] != 0:
            return
        plain = (int, float, list)
        state = {
            "iter": self.training.iteration,
            "epoch": 0,  # of BasicSR's loop, which has but one: draws are numbered through
            "self_contained": True,
            "identity": self._identity(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [
                {k: v for k, v in schedule.state_dict().items() if isinstance(v, plain)} for schedule in self.schedulers
            ],
            "before": list(self._before),
            **self.training.state(),
        }
        write_state(Path(self.opt["path"]["training_states"]), self.training.iteration, state)

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the training state; at the end (current_iter -1) the result, `models/NAME.safetensors`."""
        if current_iter != -1:
            self._write_state()
            return
        if self.training is not None:
            self._validate_if_owed()
            self.training.load_result()
            self.training.stop.close()
        if self._progress is not None:
            self._progress.close()
        network = self.net_g
        round_unquantized(network)
        self.finished = True
        if self.opt["rank"] == 0:
            size = save_network(self.result_path, network, self._header())
            get_root_logger().info(f"Packed network: {self.result_path}, {size:,d} bytes")
            if self.training is not None:
                save_curve(Path(self.opt["path"]["experiments_root"]) / "curve.png", self.training)
        else:
            freeze(network)
        wait_for_all()  # the others read the file that the first has written

    @property
    def result_path(self) -> Path:
        """The packed file that a training ends with."""
        return Path(self.opt["path"]["models"]) / f"{self.opt['name']}.safetensors"

    def add_before(self, results: Results) -> None:
        """Add to a table of the result the same pictures as they were before calibration, bounds searched only."""
        for name, image, psnr, ssim in self._before:
            after = results.datasets[name].per_image[image]
            before = Score(psnr, ssim)
            results.add_image(
                f"{name}, bounds only", image, quantized=before, bicubic=after.bicubic, teacher=after.teacher
            )

    def _header(self) -> Mapping[str, Any]:
        assert self.quant is not None
        identity, training = self._identity(), self.training
        iterations = training.iteration if training else 0
        return {
            "arch": identity["network_g"],
            "spec": self.quant.spec.to_dict(),
            "provenance": {
                "name": self.opt["name"],
                "recipe": self.quant.recipe,
                "prune": identity["prune"],
                "bits": self.quant.bits,
                "weights_trained": self.trains_weights,
                "iterations": iterations,
                "chosen": training.choice.provenance(iterations) if training else None,
                "teacher_sha256": identity["teacher"],
                "calibration": self.opt["datasets"]["train"]["name"],
                "seed": self.opt["manual_seed"],
                "versions": versions(),
            },
        }
