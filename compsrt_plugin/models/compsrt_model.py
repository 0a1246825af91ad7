"""`CompSRTModel`: BasicSR's model class for quantized networks, in `train` and in `test`."""

from __future__ import annotations

from typing import Any

from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn

from compsrt_plugin.config.quant_options import QuantOptions
from compsrt_plugin.engine import Engine
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import pad_to_windows
from compsrt_plugin.models.evaluation import Upscale
from compsrt_plugin.models.input_files import differences, find_files, read_packed_for_test
from compsrt_plugin.models.pipeline_model import PipelineModel
from compsrt_plugin.packed import Packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.network_state import load_packed_state
from compsrt_plugin.packed.network_weights import float_bytes, load_full_precision
from compsrt_plugin.packed.networks import check_network_block
from compsrt_plugin.quant import distinct_codes, named_quantizers
from compsrt_plugin.registries import register_once
from compsrt_plugin.report import FLOAT_BITS, FileRecord, Method, Results
from compsrt_plugin.report.versions import versions
from compsrt_plugin.training.quantization import Quantization

COUNTED_PATCH = 64  # codes are counted on the centre of each data set's first image: 384 quantizers take a second


@register_once(MODEL_REGISTRY)
class CompSRTModel(PipelineModel):
    """A quantized network and its full-precision teacher.

    `train` starts from the teacher (`path.pretrain_network_g`, or the bundled one if empty), searches bounds on
    patches of the train data set, distils, and writes one packed file, `experiments/NAME/models/NAME.safetensors`.
    `test` rebuilds the network from a packed file alone (`path.pretrain_network_g`, or the bundled one if empty).

    Args:
        opt: BasicSR's parsed options with our `quant:` block. Without that block (null) a test evaluates the
            full-precision network.

    Raises:
        CompSRTError: for options or files that cannot be used.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        if opt.get("quant") is None and opt["is_train"]:
            raise CompSRTError("the option file has no quant: block", hint="add quant: {recipe: compsrt, bits: 3}")
        self.packed: Packed | None = None
        self.header: Header | None = None
        self.teacher_file = ""  # "" if there is none
        self._teacher: nn.Module | None = None
        super().__init__(opt)

    @property
    def quant(self) -> QuantOptions | None:
        """How the network is quantized; None in a test of a full-precision network."""
        return self.options.quant

    def settle_files(self, opt: dict[str, Any]) -> None:
        """Find the files; read the packed file of a test, whose header then describes the network."""
        scale, paths = opt["scale"], opt["path"]
        bits = None if opt["is_train"] or self.quant is None else self.quant.bits
        self.teacher_file = find_files(paths, scale, bits, opt["network_g"])
        if bits is None:
            opt["network_g"] = check_network_block(opt["network_g"], scale, param_key=paths["param_key_g"])
            return
        self.packed, self.header = read_packed_for_test(paths["pretrain_network_g"], scale, bits)
        others = differences(opt["network_g"], self.header.arch)
        if others:
            get_root_logger().warning(f"network_g in {paths['pretrain_network_g']} is used: {', '.join(others)}")
        opt["network_g"] = {**self.header.arch, "quant": self.header.spec.to_dict()}

    def new_task(self) -> Quantization:
        """Return the task of quantizing the network."""
        return Quantization(self.net_g, self.options, self.opt, lambda: self.teacher, self.teacher_file, self.device)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = None) -> None:
        """Load the packed file (test) or full-precision weights (train, or a test without `quant:`).

        Raises:
            CompSRTError: the file is damaged, or of another network.
        """
        get_root_logger().info(f"Loading {load_path}")
        if self.packed is not None:
            load_packed_state(net, self.packed, load_path)
        else:
            load_full_precision(net, load_path, param_key)

    @property
    def teacher(self) -> nn.Module:
        """The full-precision network, in eval mode, without gradients; built at first use.

        If there is no file of its weights, only its size has a meaning.
        """
        if self._teacher is None:
            arch = {k: v for k, v in self.opt["network_g"].items() if k != "quant"}
            network: nn.Module = build_network(arch)
            if self.teacher_file:
                load_full_precision(network, self.teacher_file, self.opt["path"]["param_key_g"])
            self._teacher = network.to(self.device).eval().requires_grad_(False)
        return self._teacher

    def other_methods(self) -> dict[Method, Upscale]:
        """Return bicubic interpolation, the teacher, and the engine if a test asks for it (`val.engine`)."""
        methods = super().other_methods()
        if self.quant is not None and self.teacher_file:
            methods["teacher"] = lambda lq: self.run_network(self.teacher, lq)
        if self.opt["val"].get("engine") and not self.is_train:
            engine = Engine(self.net_g)  # it needs less memory, but must be compared on the same tiles
            methods["engine"] = lambda lq: self.images.run(engine, lq, measured=self.net_g)
        return methods

    def before_data_set(self, lq: Tensor, results: Results) -> None:
        """Count the codes that each quantizer uses on the centre of the image."""
        if self.quant is None:
            return
        top, left = (max(0, (size - COUNTED_PATCH) // 2) for size in lq.shape[2:])
        patch = lq[:, :, top : top + COUNTED_PATCH, left : left + COUNTED_PATCH]
        counts = distinct_codes(self.net_g, [pad_to_windows(patch, self.images.window, self.images.padding)])
        seen = results.distinct_codes
        seen.update({name: max(count, seen.get(name, 0)) for name, count in counts.items()})

    def new_results(self) -> Results:
        """Return results without scores: a packed file describes itself, in training the options do."""
        quant, header, run = self.quant, self.header, self.run
        files: dict[str, FileRecord] = {}
        if run is None:
            files["checkpoint"] = FileRecord.of(self.opt["path"]["pretrain_network_g"])
        elif run.finished:
            files["checkpoint"] = FileRecord.of(run.result_path)
        if quant is not None and self.teacher_file:
            files["teacher"] = FileRecord.of(self.teacher_file)
        bits = quant.bits if quant else FLOAT_BITS
        made_by = header.provenance if header else quant.passes if quant else {}
        conditioning = made_by.get("conditioning")
        widths = {q.name: q.spec.bits for _, q in named_quantizers(self.net_g)}
        spec = header.spec if header else quant.spec if quant else None
        return Results(
            name=self.opt["name"],
            scale=self.opt["scale"],
            bits=bits,
            bytes=files["checkpoint"].bytes if "checkpoint" in files else 0,
            float_bytes=float_bytes(self.teacher if quant else self.net_g),
            padding=self.images.padding,
            metrics=self.opt["val"]["metrics"],
            codes=spec.activation.codes if spec else "strict",
            recipe=header.recipe if header else quant.recipe if quant else "none",
            weights_trained=header.weights_trained if header else run is not None and run.task.trains_weights,
            other_bits={name: width for name, width in widths.items() if width != bits},
            versions=versions(),
            files=files,
            extra={} if conditioning is None else {"conditioning": conditioning},
        )
