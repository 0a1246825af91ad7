"""`CompSRTTeacherModel`: BasicSR's model class for training a full-precision network, the teacher of quantization."""

from __future__ import annotations

from typing import Any

from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from compsrt_plugin.config.files import command_line
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.models.pipeline_model import PipelineModel
from compsrt_plugin.packed import load_weights, weights_file
from compsrt_plugin.packed.network_weights import float_bytes
from compsrt_plugin.packed.networks import check_network_block
from compsrt_plugin.registries import register_once
from compsrt_plugin.report import FLOAT_BITS, FileRecord, Results
from compsrt_plugin.report.versions import versions
from compsrt_plugin.training.full_precision import FullPrecision, enlarge_training_images


@register_once(MODEL_REGISTRY)
class CompSRTTeacherModel(PipelineModel):
    """A full-precision network in BasicSR's training pipeline.

        L = target_weight * L1(O, Y) + L1(O, T)

    O is the network's output, Y the original image, T the output of a stronger network, if there is one
    (`path.pretrain_network_teacher`: any weight file that spandrel reads). The result,
    `experiments/NAME/models/NAME.safetensors`, holds plain weights: the moving average if `train.ema_decay` is set.

    Args:
        opt: BasicSR's parsed options, without `quant:` and `prune:`. `path.pretrain_network_g` may name weights of
            another scale: those that fit are loaded, the others start at random. If it is empty, all weights start
            at random. `train.precision` is `fp32`, or on a GPU `tf32` or `bf16` (mixed precision; parameters stay in
            float32). `train.compile` compiles the network with torch, which pays off on GPUs. `train.teacher_once`
            runs the stronger network once over every whole training image instead of over every patch.

    Raises:
        CompSRTError: for options or files that cannot be used.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        for block in ("quant", "prune"):
            if opt.get(block) is not None:
                raise CompSRTError(f"{opt['model_type']} trains in full precision", hint=f"drop the block {block}:")
        if not opt["is_train"]:
            test = command_line("test", opt["scale"], 4, "quant=null", "path:pretrain_network_g=FILE")
            raise CompSRTError(f"{opt['model_type']} is for training", hint=f"test with: {test}")
        self._stronger_file = ""  # "" if there is none
        super().__init__(opt)

    def settle_files(self, opt: dict[str, Any]) -> None:
        """Find the initial weights and the stronger network, both optional, and check `network_g`."""
        paths = opt["path"]
        start, stronger = paths.get("pretrain_network_g"), paths.get("pretrain_network_teacher")
        paths["pretrain_network_g"] = str(weights_file(start)) if start else None
        self._stronger_file = str(weights_file(stronger)) if stronger else ""
        opt["network_g"] = check_network_block(opt["network_g"], opt["scale"], param_key=paths["param_key_g"])

    @classmethod
    def prepare_images(cls, opt: dict[str, Any], dataset: Any) -> None:
        """Add the stronger network's outputs to the training images, if `train.teacher_once` is set."""
        enlarge_training_images(opt, dataset)

    def new_task(self) -> FullPrecision:
        """Return the task of training the network."""
        return FullPrecision(self.net_g, self.opt, self.options.distill, self._stronger_file, self.device)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = None) -> None:
        """Load all weights that fit, and log which start at random.

        Raises:
            CompSRTError: no weight fits.
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
        rest = f"; these start at random: {', '.join(fresh)}" if fresh else ""
        get_root_logger().info(f"Loaded {len(fitting)} of {len(own)} tensors from {load_path}{rest}")

    def new_results(self) -> Results:
        """Return results without scores."""
        run = self.run
        files = {"checkpoint": FileRecord.of(run.result_path)} if run is not None and run.finished else {}
        return Results(
            name=self.opt["name"],
            scale=self.opt["scale"],
            bits=FLOAT_BITS,
            bytes=files["checkpoint"].bytes if files else 0,
            float_bytes=float_bytes(self.net_g),
            padding=self.images.padding,
            metrics=self.opt["val"]["metrics"],
            codes="strict",
            recipe="none",
            weights_trained=run is not None and run.task.trains_weights,
            versions=versions(),
            files=files,
        )
