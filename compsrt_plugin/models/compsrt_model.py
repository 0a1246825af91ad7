"""`CompSRTModel`: BasicSR's SRModel for quantized networks; calibrates in `train`, compares in `test`."""

from __future__ import annotations

import copy
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from tqdm import tqdm

import compsrt_plugin
from compsrt_plugin import bundled, pruning
from compsrt_plugin.checkpoint import Packed, is_packed, read_packed
from compsrt_plugin.checkpoint.header import Header
from compsrt_plugin.checkpoint.network import load_packed_state, round_unquantized, save_network
from compsrt_plugin.compat import register_once
from compsrt_plugin.config.recipes import QuantOptions, resolve
from compsrt_plugin.config.schema import CalibrationBlock, PruneBlock
from compsrt_plugin.data.resize import upscale
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.models.calibration import calibration_batches
from compsrt_plugin.models.judge import Judge, Upscaler, check_metrics, to_image
from compsrt_plugin.models.networks import check_network, float_bytes, load_full_precision
from compsrt_plugin.models.padding import PADDINGS, pad_to_windows
from compsrt_plugin.quant import calibrate, distinct_codes, named_quantizers
from compsrt_plugin.report import FileRecord, Method, Results

PICTURED = "Demo"  # the data set of which side-by-side pictures are drawn
COUNTED_PATCH = 64  # codes are counted on the middle of each data set's first picture: 384 quantizers in a second


@register_once(MODEL_REGISTRY)
class CompSRTModel(SRModel):
    """A quantized network beside its full-precision teacher.

    In `train` the network starts from the teacher (`path.pretrain_network_g`, the bundled one if empty), its
    bounds are searched on patches of the train data set, and the result is one packed file
    `experiments/NAME/models/NAME.safetensors`. In `test` it is rebuilt from a packed file alone
    (`path.pretrain_network_g`, the bundled one if empty).

    Args:
        opt: BasicSR's parsed options with our `quant:` block. Without that block (null) a test judges the
            full-precision network itself.

    Raises:
        CompSRTError: for options or files that cannot be used.
    """

    judge: Judge  # of one test, or of one validation in train

    def __init__(self, opt: dict[str, Any]) -> None:
        opt = copy.deepcopy(opt)
        self.quant: QuantOptions | None = None
        if opt.get("quant") is not None:
            self.quant = resolve(opt["quant"])
        elif opt["is_train"]:
            raise CompSRTError("the option file has no quant: block", hint="add quant: {recipe: compsrt, bits: 3}")
        self.packed: Packed | None = None
        self.header: Header | None = None
        self.padding = (opt.get("val") or {}).get("padding", "reflect")
        if self.padding not in PADDINGS:
            raise CompSRTError(f"val.padding is {self.padding!r}", allowed=", ".join(PADDINGS))
        if opt.get("val"):
            check_metrics(opt["val"].get("metrics"))
        scale, paths = opt["scale"], opt["path"]
        if not paths.get("pretrain_network_g"):
            if self.quant is not None and not opt["is_train"]:
                paths["pretrain_network_g"] = str(bundled.checkpoint_path(scale, self.quant.bits))
            else:
                paths["pretrain_network_g"] = str(bundled.teacher_path(scale))
        self.teacher_source = str(
            paths["pretrain_network_g"]
            if opt["is_train"]
            else paths.get("pretrain_network_teacher") or bundled.teacher_path(scale)
        )
        if self.quant is not None and not opt["is_train"]:
            path = paths["pretrain_network_g"]
            self.packed, self.header = self._read_packed(path, scale, self.quant)
            # The file alone says what it is; the option file's recipe only says what it was meant to be.
            opt["network_g"] = {**self.header.arch, "quant": self.header.spec.to_dict()}
            try:
                check_network(opt["network_g"], scale)
            except CompSRTError as error:
                raise CompSRTError(f"{path} describes a network that cannot be built: {error}") from error
        else:
            check_network(opt["network_g"], scale)
        self._teacher: nn.Module | None = None
        super().__init__(opt)
        if not self.is_train:
            self.judge = self._new_judge()
        self.sets_tested = 0

    def print_network(self, net: nn.Module) -> None:
        """Log what was built in one line; BasicSR would print some two thousand."""
        bare = self.get_bare_model(net)
        parameters = sum(p.numel() for p in bare.parameters())
        quantizers = sum(1 for _ in named_quantizers(bare))
        get_root_logger().info(f"Network: {type(bare).__name__}, {parameters:,d} parameters, {quantizers} quantizers")

    def load_network(
        self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Load the packed file (test) or full-precision weights (train, or a test without `quant:`).

        Raises:
            CompSRTError: if the file is damaged or of another network.
        """
        bare = self.get_bare_model(net)
        get_root_logger().info(f"Loading {load_path}")
        if self.packed is not None:
            load_packed_state(bare, self.packed, load_path)
        else:
            load_full_precision(bare, load_path, param_key)

    @staticmethod
    def _read_packed(path: str, scale: int, quant: QuantOptions) -> tuple[Packed, Header]:
        if not is_packed(path):
            raise CompSRTError(
                f"{path} is not a packed quantized network, which quant: needs in a test",
                hint=f"quantize it: basicsr train -opt compsrt_x{scale}_{quant.bits}bit.yml "
                f"--force_yml path:pretrain_network_g={path}, or test it as it is: --force_yml quant=null",
            )
        packed = read_packed(path)
        header = Header.parse(packed.header, path)
        for what, found, asked in (("scale", header.scale, scale), ("bits", header.bits, quant.bits)):
            if found != asked:
                raise CompSRTError(
                    f"{path} has {what} {found}, the option file says {asked}",
                    hint="take the option file that fits, or another checkpoint",
                )
        return packed, header

    @property
    def teacher(self) -> nn.Module:
        """The full-precision network, in eval mode, without gradients; loaded at first use."""
        if self._teacher is None:
            arch = {k: v for k, v in self.opt["network_g"].items() if k != "quant"}
            network: nn.Module = build_network(arch)
            load_full_precision(network, self.teacher_source)
            self._teacher = network.to(self.device).eval().requires_grad_(False)
        return self._teacher

    def run_network(self, network: nn.Module, lq: Tensor) -> Tensor:
        """Super-resolve a picture of any size: pad to whole windows, run, crop.

        Args:
            network: what to run, in eval mode.
            lq: (b, c, h, w) in 0..1.

        Returns:
            (b, c, h * scale, w * scale).
        """
        scale, (h, w) = self.opt["scale"], lq.shape[2:]
        with torch.no_grad():
            output = network(pad_to_windows(lq, self.get_bare_model(self.net_g).window_size, self.padding))
        return output[:, :, : h * scale, : w * scale]

    def test(self) -> None:
        """Super-resolve `self.lq` with the quantized network."""
        self.net_g.eval()
        self.output = self.run_network(self.net_g, self.lq)

    def _new_judge(self) -> Judge:
        methods: dict[Method, Upscaler] = {"bicubic": self._bicubic}
        if self.quant is not None:
            methods["teacher"] = lambda lq: self.run_network(self.teacher, lq)
        methods["quantized"] = lambda lq: self.run_network(self.net_g, lq)
        return Judge(self._new_results(), methods, self.opt["val"]["metrics"])

    def _bicubic(self, lq: Tensor) -> Tensor:
        picture = upscale(to_image(lq), self.opt["scale"])[..., ::-1].transpose(2, 0, 1)
        return torch.from_numpy(picture.copy()).unsqueeze(0) / 255

    def _new_results(self) -> Results:
        quant, header = self.quant, self.header
        files = {} if self.is_train else {"checkpoint": FileRecord.of(self.opt["path"]["pretrain_network_g"])}
        if quant is not None:
            files["teacher"] = FileRecord.of(self.teacher_source)
        bits = quant.bits if quant else 32
        widths = {q.name: q.spec.bits for _, q in named_quantizers(self.get_bare_model(self.net_g))}
        return Results(
            name=self.opt["name"],
            scale=self.opt["scale"],
            bits=bits,
            bytes=files["checkpoint"].bytes if "checkpoint" in files else 0,
            float_bytes=float_bytes(self.get_bare_model(self.teacher if quant else self.net_g)),
            padding=self.padding,
            metrics=self.opt["val"]["metrics"],
            codes=quant.spec.activation.codes if quant else "strict",
            recipe=header.recipe if header else quant.recipe if quant else "none",
            weights_trained=bool(header and header.weights_trained),
            other_bits={name: width for name, width in widths.items() if width != bits},
            versions=versions(),
            files=files,
        )

    def nondist_validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Judge one data set; after the last one of a test, write and print the report.

        Args:
            dataloader: BasicSR's loader; one of an empty data set is passed over.
            current_iter: iteration (train) or name of the run (test), for file names and TensorBoard.
            tb_logger: TensorBoard writer or None.
            save_img: whether output pictures are written.
        """
        name = dataloader.dataset.opt["name"]
        if self.is_train:
            self.judge = self._new_judge()
        for index, data in enumerate(tqdm(dataloader, desc=name, unit="image", leave=False)):
            lq, gt = data["lq"].to(self.device), data["gt"]
            image, lq_name = Path(data["gt_path"][0]).stem, Path(data["lq_path"][0]).stem
            self.net_g.eval()
            if index == 0 and self.quant is not None and not self.is_train:
                self._count_codes(lq)
            pictures = self.judge.judge(name, image, lq, gt)
            if save_img:
                suffix = self.opt["val"].get("suffix") or current_iter
                folder = Path(self.opt["path"]["visualization"]) / name
                imwrite(pictures["quantized"], str(folder / f"{lq_name}_{suffix}.png"))
                if name == PICTURED:
                    self.judge.save_comparison(folder / f"{image}_comparison.png", name, image, pictures, gt)
        self._log_scores(name, current_iter, tb_logger)
        self.sets_tested += 1
        if not self.is_train and self.sets_tested == len(self.opt["datasets"]) and self.judge.results.datasets:
            folder = Path(self.opt["path"]["results_root"])
            get_root_logger().info(f"Written: {folder / 'results.json'}, {folder / 'results.md'}")
            tqdm.write(self.judge.write(folder))

    def _log_scores(self, dataset: str, current_iter: Any, tb_logger: Any) -> None:
        if dataset not in self.judge.results.datasets:
            return
        for method, score in self.judge.results.datasets[dataset].mean.by_method().items():
            get_root_logger().info(f"{dataset}, {method}: {score.to_dict()}")
            if tb_logger:
                tb_logger.add_scalar(f"metrics/{dataset}/{method}/psnr", score.psnr, current_iter)

    def _count_codes(self, lq: Tensor) -> None:
        top, left = (max(0, (size - COUNTED_PATCH) // 2) for size in lq.shape[2:])
        patch = lq[:, :, top : top + COUNTED_PATCH, left : left + COUNTED_PATCH]
        network = self.get_bare_model(self.net_g)
        counts = distinct_codes(network, [pad_to_windows(patch, network.window_size, self.padding)])
        seen = self.judge.results.distinct_codes
        seen.update({name: max(count, seen.get(name, 0)) for name, count in counts.items()})

    def init_training_settings(self) -> None:
        """Search the bounds of all quantizers on patches of the train data set."""
        assert self.quant is not None
        logger = get_root_logger()
        options = self.quant.calibration
        logger.info(f"Quantization: {self.quant.to_dict()}")
        self.get_bare_model(self.net_g).quantize(self.quant.spec)
        self._prune(self.get_bare_model(self.net_g))
        self.net_g.eval()
        batches = calibration_batches(self.opt, options.patches, options.patch_size, self.device)
        calibrate(self.get_bare_model(self.net_g), batches)
        logger.info(f"Bounds of {sum(1 for _ in named_quantizers(self.net_g))} quantizers searched")

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

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the packed network as `models/NAME.safetensors` (at the end: current_iter -1)."""
        if current_iter != -1 or self.opt["rank"] != 0:
            return
        network = self.get_bare_model(self.net_g)
        round_unquantized(network)
        path = Path(self.opt["path"]["models"]) / f"{self.opt['name']}.safetensors"
        size = save_network(path, network, self._header())
        get_root_logger().info(f"Packed network: {path}, {size:,d} bytes")

    def _header(self) -> Mapping[str, Any]:
        assert self.quant is not None
        arch = {k: v for k, v in self.opt["network_g"].items() if k != "quant"}
        return {
            "arch": arch,
            "spec": self.quant.spec.to_dict(),
            "provenance": {
                "name": self.opt["name"],
                "recipe": self.quant.recipe,
                "prune": self.opt.get("prune"),
                "bits": self.quant.bits,
                "weights_trained": False,
                "teacher_sha256": hashlib.sha256(Path(self.teacher_source).read_bytes()).hexdigest(),
                "calibration": self.opt["datasets"]["train"]["name"],
                "seed": self.opt["manual_seed"],
                "versions": versions(),
            },
        }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    from basicsr.version import __version__ as basicsr_version

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "basicsr": basicsr_version,
        "compsrt_plugin": compsrt_plugin.__version__,
    }
