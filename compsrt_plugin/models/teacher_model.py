"""`CompSRTTeacherModel`: trains a full-precision network, the teacher that quantization starts from."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

import safetensors.torch
import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from compsrt_plugin.config.checks import choice, flag
from compsrt_plugin.config.files import command_line
from compsrt_plugin.config.schema import CalibrationBlock, DistillBlock
from compsrt_plugin.config.tables import PRECISIONS
from compsrt_plugin.data.kept_images import with_targets
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.models.compsrt_model import CompSRTModel
from compsrt_plugin.networks import versions
from compsrt_plugin.packed import load_weights, weights_file
from compsrt_plugin.processes import take_from_first
from compsrt_plugin.registries import register_once
from compsrt_plugin.report import Results
from compsrt_plugin.training.calibrator import CalibrationPatches, Pruning
from compsrt_plugin.training.resuming import sha256
from compsrt_plugin.training.stronger_network import read_stronger, whole_pictures
from compsrt_plugin.training.trainer import Training


@register_once(MODEL_REGISTRY)
class CompSRTTeacherModel(CompSRTModel):
    """A full-precision network in BasicSR's training pipeline.

        L = target_weight * L1(O, Y) + L1(O, T)

    O is the network's picture, Y the original, T what a stronger network makes of the same input, if there is one
    (`path.pretrain_network_teacher`: any weight file that spandrel reads). States, stopping, resuming and the choice
    by held-out pictures are those of calibration; the result is `experiments/NAME/models/NAME.safetensors`, plain
    weights, the moving average if `train.ema_decay` is set.

    Args:
        opt: BasicSR's parsed options, without `quant:` and `prune:`. `path.pretrain_network_g` may name weights of
            another scale: what fits is taken, the rest starts anew. Empty, all weights start at random.
            `train.precision` is `fp32`, or on a GPU `tf32` or `bf16` (mixed precision, parameters stay in 32 bits);
            `train.compile` lets torch compile the network, which pays on GPUs. `train.teacher_once` runs the stronger
            network once over every whole training picture instead of over every patch (`stronger.whole_pictures`).

    Raises:
        CompSRTError: for options or files that cannot be used.
    """

    quantizes: ClassVar[bool] = False

    def __init__(self, opt: dict[str, Any]) -> None:
        for block in ("quant", "prune"):
            if opt.get(block) is not None:
                raise CompSRTError(f"{opt['model_type']} trains in full precision", hint=f"drop the block {block}:")
        if not opt["is_train"]:
            test = command_line("test", opt["scale"], 4, "quant=null", "path:pretrain_network_g=FILE")
            raise CompSRTError(f"{opt['model_type']} is for training", hint=f"test with: {test}")
        super().__init__(opt)

    def find_files(self, opt: dict[str, Any], bits: int | None) -> str:
        """Settle the files in `path:` and return the stronger network's, "" without one."""
        paths = opt["path"]
        start, stronger = paths.get("pretrain_network_g"), paths.get("pretrain_network_teacher")
        paths["pretrain_network_g"] = str(weights_file(start)) if start else None
        return str(weights_file(stronger)) if stronger else ""

    @classmethod
    def prepare_pictures(cls, opt: Mapping[str, Any], dataset: Any) -> None:
        """Add to the training pictures what the stronger network makes of them, with `train.teacher_once`.

        Raises:
            CompSRTError: there is no such network, or the pictures are not kept in memory.
        """
        once = opt["train"].get("teacher_once", False)
        flag()("train.teacher_once", once)
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
        targets = whole_pictures(stronger, [picture.lr for picture in dataset.kept], device)
        dataset.kept = with_targets(dataset.kept, targets)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; `target` beside BasicSR's `lq` and `gt`, where pictures have it."""
        super().feed_data(data)
        self.target = data["target"].to(self.device) if "target" in data else None

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = None) -> None:
        """Take over all weights that fit; say which start anew.

        Raises:
            CompSRTError: none fits.
        """
        given, own = load_weights(load_path, param_key=param_key), net.state_dict()
        fitting = {
            name: value
            for name, value in given.items()
            if name in own
            and own[name].shape == value.shape
            and own[name].dtype.is_floating_point == value.dtype.is_floating_point
        }
        if not fitting:
            raise CompSRTError(f"{load_path}: none of its {len(given)} tensors fits {type(net).__name__}")
        net.load_state_dict(fitting, strict=False)
        fresh = [name for name in own if name not in fitting]
        told = f"; these start anew: {', '.join(fresh)}" if fresh else ""
        get_root_logger().info(f"Loaded {len(fitting)} of {len(own)} tensors from {load_path}{told}")

    def init_training_settings(self) -> None:
        """Make ready what the iterations need; a resumed run does so later."""
        self.check_training()
        train = self.opt["train"]
        choice(lambda: PRECISIONS)("train.precision", train.setdefault("precision", "fp32"))
        flag()("train.compile", train.setdefault("compile", False))
        flag()("train.teacher_once", train.setdefault("teacher_once", False))
        patches = CalibrationPatches(self.opt, CalibrationBlock(), self.device)
        self.pruning = Pruning(self.net_g.eval(), None, patches)
        take_from_first(list(self.net_g.parameters()))  # at random in each process
        if self._total and not self.opt["path"].get("resume_state"):
            self.begin()

    def new_training(self, ema_decay: float) -> Training:
        """Return the iterations to be done: all weights are trained, at `optim_g.lr`."""
        given = {"target_weight": 1.0, **(self.opt.get("distill") or {})}
        fixed = {"train_weights": True, "lr_weights": self.opt["train"]["optim_g"]["lr"], "feature_weight": 0.0}
        block = dataclasses.replace(DistillBlock.from_dict(given), **fixed)
        stronger = None
        if self.teacher_source and not self.opt["train"]["teacher_once"]:
            stronger = read_stronger(self.teacher_source, self.opt).network.to(self.device)
        training = Training(self.net_g, stronger, block, ema_decay, rounded=False)
        training.distillation.student = self._fast(self.net_g)
        return training

    def _fast(self, network: nn.Module) -> nn.Module:
        """Return the network as the iterations call it: compiled, in mixed precision."""
        train = self.opt["train"]
        if train["precision"] != "fp32":
            torch.set_float32_matmul_precision("high")  # TF32 where the device has it
        compiled: Any = torch.compile(network) if train["compile"] else network
        return MixedPrecision(compiled, self.device.type) if train["precision"] == "bf16" else compiled

    def own_identity(self) -> dict[str, Any]:
        """Return the model's own part of `identity`; `start` and `teacher` are the SHA-256 of files."""
        return {
            "start": sha256(self.opt["path"].get("pretrain_network_g")),
            "teacher": sha256(self.teacher_source),
            "network_g": copy.deepcopy(self.opt["network_g"]),
            "distill": self.opt.get("distill"),
        }

    def write_result(self) -> None:
        """Write the weights, if this is the first process."""
        if self.opt["rank"] != 0:
            return
        training, identity = self.training, self.identity
        iterations = training.iteration if training else 0
        provenance = {
            "name": self.opt["name"],
            "iterations": iterations,
            "chosen": training.choice.provenance(iterations) if training else None,
            "start_sha256": identity["start"],
            "teacher_sha256": identity["teacher"],
            "training": self.opt["datasets"]["train"]["name"],
            "seed": self.opt["manual_seed"],
            "versions": versions(),
        }
        if self.changed:
            provenance["changed"] = list(self.changed)
        state = {name: value.detach().cpu().contiguous() for name, value in self.net_g.state_dict().items()}
        # One entry: safetensors keeps no order among several, and the same run is to give the same bytes.
        content = safetensors.torch.save(state, {"provenance": json.dumps(provenance, sort_keys=True)})
        write_whole(self.result_path, content)
        get_root_logger().info(f"Full-precision weights: {self.result_path}, {len(content):,d} bytes")

    def add_before(self, results: Results) -> None:
        """Add nothing: what the network was before is of no interest."""


class MixedPrecision(nn.Module):
    """Runs a network's matrix products in bfloat16; parameters, sums and the output stay in 32 bits.

    Args:
        network: what is run.
        device: type of its device.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        super().__init__()
        self.network, self.device = network, device

    def forward(self, x: Tensor) -> Tensor:
        """As the network's, output in float32."""
        with torch.autocast(self.device, torch.bfloat16):
            return self.network(x).float()
