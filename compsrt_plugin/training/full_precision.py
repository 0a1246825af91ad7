"""The task of training a full-precision network, the teacher that quantization starts from."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from compsrt_plugin.config.blocks import DistillBlock
from compsrt_plugin.config.train_blocks import TeacherTrain
from compsrt_plugin.config.typed import fields_of, parse_value
from compsrt_plugin.data.kept_images import with_targets
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed import weights_file
from compsrt_plugin.packed.download import file_sha256
from compsrt_plugin.processes import take_from_first
from compsrt_plugin.report.versions import versions
from compsrt_plugin.training.stronger_network import enlarge_images, read_stronger
from compsrt_plugin.training.task import Outcome, Task
from compsrt_plugin.training.trainer import Trainer


class FullPrecision(Task):
    """Train all weights of a network, from the originals and, if there is one, a stronger network.

    Args:
        network: with its initial weights.
        opt: BasicSR's parsed options; `path.pretrain_network_g` is a file or None. Defaults of `train.precision`,
            `train.compile` and `train.teacher_once` are filled in.
        distill: the loss.
        stronger_file: weights of the stronger network; "" without one.
        device: where the network is.

    Raises:
        CompSRTError: options that cannot be used.
    """

    def __init__(
        self, network: nn.Module, opt: dict[str, Any], distill: DistillBlock, stronger_file: str, device: torch.device
    ) -> None:
        self.network, self.opt, self._distill = network.eval(), opt, distill
        self._stronger_file, self._device = stronger_file, device
        train = opt["train"]
        typed = TeacherTrain.from_dict({name: train[name] for name in fields_of(TeacherTrain) if name in train})
        train.update(precision=typed.precision, compile=typed.compile, teacher_once=typed.teacher_once)
        take_from_first(list(network.parameters()))  # each process drew its own random weights

    @property
    def trains_weights(self) -> bool:
        """Whether there are iterations."""
        return int(self.opt["train"]["total_iter"]) > 0

    def prepare(self, iterations: int) -> None:
        """Do nothing: the network is ready."""

    def trainer(self, ema_decay: float) -> Trainer:
        """Return the trainer of all weights, at the learning rate `optim_g.lr`."""
        train = self.opt["train"]
        fixed = {"train_weights": True, "lr_weights": train["optim_g"]["lr"], "feature_weight": 0.0}
        block = msgspec.structs.replace(self._distill, **fixed)
        stronger = None
        if self._stronger_file and not train["teacher_once"]:
            stronger = read_stronger(self._stronger_file, self.opt).network.to(self._device)
        trainer = Trainer(self.network, stronger, block, ema_decay, rounded=False)
        trainer.distillation.student = self._fast()
        return trainer

    def _fast(self) -> nn.Module:
        """Return the network as the iterations call it: compiled, in mixed precision."""
        train = self.opt["train"]
        if train["precision"] != "fp32":
            torch.set_float32_matmul_precision("high")  # TF32 where the device has it
        compiled: Any = torch.compile(self.network) if train["compile"] else self.network
        return MixedPrecision(compiled, self._device.type) if train["precision"] == "bf16" else compiled

    def identity(self) -> dict[str, Any]:
        """Return the SHA-256 of the initial weights and of the stronger network, and our blocks of the option file."""
        start = self.opt["path"].get("pretrain_network_g")
        return {
            "start": file_sha256(Path(start)) if start else None,
            "teacher": file_sha256(Path(self._stronger_file)) if self._stronger_file else None,
            "network_g": copy.deepcopy(self.opt["network_g"]),
            "distill": self.opt.get("distill"),
        }

    def write_result(self, path: Path, outcome: Outcome, first: bool) -> None:
        """Write the weights as a safetensors file whose metadata has one entry, `provenance`, as JSON."""
        if not first:
            return
        provenance = {
            "name": self.opt["name"],
            "iterations": outcome.iterations,
            "chosen": outcome.selected,
            "start_sha256": outcome.identity["start"],
            "teacher_sha256": outcome.identity["teacher"],
            "training": self.opt["datasets"]["train"]["name"],
            "seed": self.opt["manual_seed"],
            "versions": versions(),
            **({"changed": list(outcome.changed)} if outcome.changed else {}),
        }
        state = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        # One entry: safetensors keeps no order among several, and the same run must give the same bytes.
        content = safetensors.torch.save(state, {"provenance": json.dumps(provenance, sort_keys=True)})
        write_whole(path, content)
        get_root_logger().info(f"Full-precision weights: {path}, {len(content):,d} bytes")


class MixedPrecision(nn.Module):
    """Run a network's matrix products in bfloat16; parameters, sums and the output stay in float32.

    Args:
        network: the network to run.
        device: type of its device.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        super().__init__()
        self.network, self.device = network, device

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's output in float32."""
        with torch.autocast(self.device, torch.bfloat16):
            return self.network(x).float()


def enlarge_training_images(opt: Mapping[str, Any], dataset: Any) -> None:
    """Add the stronger network's outputs to the training images, if `train.teacher_once` is set.

    Args:
        opt: BasicSR's parsed options.
        dataset: the training data set, with its images in memory.

    Raises:
        CompSRTError: there is no stronger network, or the images are not kept in memory.
    """
    once = opt["train"].get("teacher_once", False)
    parse_value(bool, "train.teacher_once", once)
    if not once:
        return
    source = opt["path"].get("pretrain_network_teacher")
    if not source or getattr(dataset, "kept", None) is None:
        raise CompSRTError(
            "train.teacher_once is true",
            allowed="with path.pretrain_network_teacher and keep_in_memory: true in datasets.train",
        )
    device = torch.device("cuda" if opt["num_gpu"] else "cpu")
    stronger = read_stronger(str(weights_file(source)), opt)
    targets = enlarge_images(stronger, [image.lr for image in dataset.kept], device)
    dataset.kept = with_targets(dataset.kept, targets)
