"""`CompSRTModel`: BasicSR's SRModel for quantized networks: loading and judging; `calibrating` trains."""

from __future__ import annotations

import copy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor, nn
from tqdm import tqdm

from compsrt_plugin.config.recipes import QuantOptions, resolve
from compsrt_plugin.config.schema import TileBlock
from compsrt_plugin.data.images import write_image
from compsrt_plugin.data.names import ImageNames
from compsrt_plugin.data.resize import upscale
from compsrt_plugin.engine import Engine
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import PADDINGS, Tile, UpscaleCall, check_tile, choose_tile, pad_to_windows, super_resolve
from compsrt_plugin.models.calibrating_model import CalibratingModel
from compsrt_plugin.models.evaluation import Judge, Upscaler, check_metrics, to_image
from compsrt_plugin.models.input_files import asked_entry, differences, find_files, read_packed_for_test
from compsrt_plugin.networks import check_network, float_bytes, load_full_precision, versions
from compsrt_plugin.packed import Packed
from compsrt_plugin.packed.header import Header
from compsrt_plugin.packed.network_state import load_packed_state
from compsrt_plugin.processes import own_share, share_scores
from compsrt_plugin.quant import distinct_codes, named_quantizers
from compsrt_plugin.registries import register_once
from compsrt_plugin.report import FLOAT_BITS, FileRecord, Method, Results
from compsrt_plugin.terminal import progress

PICTURED = "Demo"  # the data set of which side-by-side pictures are drawn
BAR_AFTER = 2.0  # seconds after which a picture's tiles get a progress bar
COUNTED_PATCH = 64  # codes are counted on the middle of each data set's first picture: 384 quantizers in a second


@register_once(MODEL_REGISTRY)
class CompSRTModel(CalibratingModel):
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
    quantizes: ClassVar[bool] = True  # in train
    engine: Engine | None = None  # in a test with `val.engine`

    def __init__(self, opt: dict[str, Any]) -> None:
        opt = copy.deepcopy(opt)
        self.quant: QuantOptions | None = None
        if opt.get("quant") is not None:
            self.quant = resolve(opt["quant"], pruned=opt.get("prune") is not None)
        elif opt["is_train"] and self.quantizes:
            raise CompSRTError("the option file has no quant: block", hint="add quant: {recipe: compsrt, bits: 3}")
        self.packed: Packed | None = None
        self.header: Header | None = None
        self.padding = (opt.get("val") or {}).get("padding", "reflect")
        if self.padding not in PADDINGS:
            raise CompSRTError(f"val.padding is {self.padding!r}", allowed=", ".join(PADDINGS))
        if opt.get("val"):
            check_metrics(opt["val"].get("metrics"))
        block = None if opt.get("tile") is None else TileBlock.from_dict(opt["tile"])
        self.tile = None if block is None else Tile(block.size, block.overlap)  # None: only where memory asks for it
        self.tiled: Tile | None = None  # what the last picture that was cut was cut into
        # BasicSR hands on `params` where none is asked for; `checkpoint.entries` decides then, for all files alike
        opt["path"]["param_key_g"] = asked_entry(opt)
        scale = opt["scale"]
        bits = None if opt["is_train"] or self.quant is None else self.quant.bits
        self.teacher_source = self.find_files(opt, bits)
        if bits is not None:
            path = opt["path"]["pretrain_network_g"]
            self.packed, self.header = read_packed_for_test(path, scale, bits)
            others = differences(opt["network_g"], self.header.arch)
            if others:
                get_root_logger().warning(f"network_g in {path}, which decides: {', '.join(others)}")
            # The file alone says what it is; the option file's recipe only says what it was meant to be.
            opt["network_g"] = {**self.header.arch, "quant": self.header.spec.to_dict()}
        else:
            opt["network_g"] = check_network(opt["network_g"], scale, param_key=opt["path"]["param_key_g"])
        self._teacher: nn.Module | None = None
        super().__init__(opt)
        if self.tile is not None:
            check_tile(self.tile, self.get_bare_model(self.net_g).window_size)
        if not self.is_train:
            self.judge = self._new_judge()
        self.sets_tested = 0

    def find_files(self, opt: dict[str, Any], bits: int | None) -> str:
        """Settle the files in `path:` and return the teacher's; see `sources.find_files`."""
        return find_files(opt["path"], opt["scale"], bits, opt["network_g"])

    def print_network(self, net: nn.Module) -> None:
        """Log what was built in one line; BasicSR would print some two thousand."""
        bare = self.get_bare_model(net)
        parameters = sum(p.numel() for p in bare.parameters())
        quantizers = sum(1 for _ in named_quantizers(bare))
        get_root_logger().info(f"Network: {type(bare).__name__}, {parameters:,d} parameters, {quantizers} quantizers")

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True, param_key: str | None = None) -> None:
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

    @property
    def teacher(self) -> nn.Module:
        """The full-precision network, in eval mode, without gradients; loaded at first use.

        Where there is no file of its weights it is good for its size only.
        """
        if self._teacher is None:
            arch = {k: v for k, v in self.opt["network_g"].items() if k != "quant"}
            network: nn.Module = build_network(arch)
            if self.teacher_source:
                load_full_precision(network, self.teacher_source, self.opt["path"]["param_key_g"])
            self._teacher = network.to(self.device).eval().requires_grad_(False)
        return self._teacher

    def run_network(self, network: UpscaleCall, lq: Tensor) -> Tensor:
        """Super-resolve a picture of any size, in tiles if `tile:` says so or memory would not suffice.

        Args:
            network: what to run, in eval mode.
            lq: (b, c, h, w) in 0..1.

        Returns:
            (b, c, h * scale, w * scale).
        """
        scale, window = self.opt["scale"], self.get_bare_model(self.net_g).window_size
        # the engine needs less memory, but is to be compared on the same tiles
        judged = self.net_g if network is self.engine else network
        tile = self.tile or choose_tile(judged, lq.shape[2:], scale=scale, window=window, device=lq.device)
        if max(lq.shape[2:]) > tile.size:
            self.tiled = tile
        first = self.opt["rank"] == 0
        bar = partial(progress, shown=first, desc="tiles", unit="tiles", leave=False, delay=BAR_AFTER)
        return super_resolve(network, lq, scale=scale, window=window, padding=self.padding, tile=tile, progress=bar)

    def test(self) -> None:
        """Super-resolve `self.lq` with the quantized network."""
        self.net_g.eval()
        self.output = self.run_network(self.net_g, self.lq)

    def _new_judge(self) -> Judge:
        methods: dict[Method, Upscaler] = {}
        if not self.choosing:
            methods["bicubic"] = self._bicubic
        if self.quant is not None and self.teacher_source and not self.choosing:
            methods["teacher"] = lambda lq: self.run_network(self.teacher, lq)
        methods["quantized"] = lambda lq: self.run_network(self.net_g, lq)
        if self.opt["val"].get("engine") and not self.is_train:
            self.engine = engine = Engine(self.get_bare_model(self.net_g))
            methods["engine"] = lambda lq: self.run_network(engine, lq)
        return Judge(self._new_results(), methods, self.opt["val"]["metrics"])

    def _bicubic(self, lq: Tensor) -> Tensor:
        picture = upscale(to_image(lq), self.opt["scale"])[..., ::-1].transpose(2, 0, 1)
        return torch.from_numpy(picture.copy()).unsqueeze(0).float() / 255

    def _new_results(self) -> Results:
        quant, header = self.quant, self.header
        files: dict[str, FileRecord] = {}
        if self.finished or not self.is_train:
            files["checkpoint"] = FileRecord.of(
                self.result_path if self.finished else self.opt["path"]["pretrain_network_g"]
            )
        if quant is not None and self.teacher_source:
            files["teacher"] = FileRecord.of(self.teacher_source)
        bits = quant.bits if quant else FLOAT_BITS
        conditioning = header.provenance.get("conditioning") if header else quant.conditioning if quant else None
        widths = {q.name: q.spec.bits for _, q in named_quantizers(self.get_bare_model(self.net_g))}
        spec = header.spec if header else quant.spec if quant else None  # a packed file knows its own
        return Results(
            name=self.opt["name"],
            scale=self.opt["scale"],
            bits=bits,
            bytes=files["checkpoint"].bytes if "checkpoint" in files else 0,
            float_bytes=float_bytes(self.get_bare_model(self.teacher if quant else self.net_g)),
            padding=self.padding,
            metrics=self.opt["val"]["metrics"],
            codes=spec.activation.codes if spec else "strict",
            recipe=header.recipe if header else quant.recipe if quant else "none",
            weights_trained=header.weights_trained if header else self.trains_weights,
            other_bits={name: width for name, width in widths.items() if width != bits},
            versions=versions(),
            files=files,
            extra={} if conditioning is None else {"conditioning": conditioning},
        )

    def dist_validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Judge one data set, each process its share of the pictures; BasicSR lets the first do all."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Judge one data set; after the last one, write and print the report.

        Args:
            dataloader: BasicSR's loader; one of an empty data set is passed over.
            current_iter: iteration (train) or name of the run (test), for file names and TensorBoard.
            tb_logger: TensorBoard writer or None.
            save_img: whether output pictures are written.
        """
        name = dataloader.dataset.opt["name"]
        if self.is_train and not (self.finished and self.sets_tested):
            self.judge = self._new_judge()
        first, share = self.opt["rank"] == 0, own_share(dataloader)
        if first and len(dataloader):
            count = len(dataloader)
            get_root_logger().info(
                f"Judging {name}, {count} picture{'s' * (count > 1)}, {self._occasion(current_iter)}"
            )
        names, suffix = ImageNames(dataloader.dataset), self.opt["val"].get("suffix") or current_iter
        if save_img:
            names.check_written(suffix)
        for index, data in enumerate(progress(share, shown=first, desc=name, unit="images", leave=False)):
            self.between_pictures()
            lq, gt = data["lq"].to(self.device), data["gt"]
            hr_path, image = data["gt_path"][0], names.of(data["gt_path"][0])
            self.net_g.eval()
            if index == 0 and first and self.quant is not None and not self.choosing:
                self._count_codes(lq)
            pictures = self.judge.judge(name, image, lq, gt)
            if save_img:
                folder = Path(self.opt["path"]["visualization"]) / name
                write_image(folder / names.written(data["lq_path"][0], suffix), pictures["quantized"])
                if name == PICTURED:
                    comparison = folder / names.written(hr_path, "comparison")
                    self.judge.save_comparison(comparison, name, image, pictures, gt)
        share_scores(self.judge.results, name)
        if self.choosing:
            self._log_scores(name, current_iter, tb_logger)
            return
        self.sets_tested += 1
        if not self.is_train and self.sets_tested == len(self.opt["datasets"]) and not self.judge.results.datasets:
            raise CompSRTError("none of the data sets is there, nothing was tested", hint="see the warnings above")
        if self.sets_tested == len(self._judged_sets()) and self.judge.results.datasets and first:
            self._report()

    def _occasion(self, current_iter: Any) -> str:
        if not self.choosing:
            return "for the report"
        return f"after iteration {current_iter}" if current_iter else "before the first iteration"

    def _judged_sets(self) -> list[dict[str, Any]]:
        """Return the data sets that are judged: of a test all, of a training those held out."""
        return self.val_sets() if self.is_train else list(self.opt["datasets"].values())

    def _report(self) -> None:
        paths, results = self.opt["path"], self.judge.results
        folder = Path(paths["experiments_root"] if self.is_train else paths["results_root"])
        self.add_before(results)
        if self.tiled is not None:
            results.extra["tile"] = {**asdict(self.tiled), "automatic": self.tile is None}
        table = self.judge.write(folder)
        for name in results.datasets:
            self._log_scores(name, self.opt["name"], None)
        get_root_logger().info(f"Written: {folder / 'results.json'}, {folder / 'results.md'}")
        tqdm.write(table)

    def _log_scores(self, dataset: str, current_iter: Any, tb_logger: Any) -> None:
        if dataset not in self.judge.results.datasets:
            return
        for method, score in self.judge.results.datasets[dataset].mean.by_method().items():
            judged = "full precision" if method == "quantized" and self.judge.results.full_precision else method
            get_root_logger().info(f"{dataset}, {judged}: {score.to_dict()}")
            if tb_logger:
                tb_logger.add_scalar(f"metrics/{dataset}/{judged}/psnr", score.psnr, current_iter)

    def _count_codes(self, lq: Tensor) -> None:
        top, left = (max(0, (size - COUNTED_PATCH) // 2) for size in lq.shape[2:])
        patch = lq[:, :, top : top + COUNTED_PATCH, left : left + COUNTED_PATCH]
        network = self.get_bare_model(self.net_g)
        counts = distinct_codes(network, [pad_to_windows(patch, network.window_size, self.padding)])
        seen = self.judge.results.distinct_codes
        seen.update({name: max(count, seen.get(name, 0)) for name, count in counts.items()})
