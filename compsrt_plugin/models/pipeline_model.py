"""The base of our model classes: BasicSR's pipeline calls, passed on to a training run and to the evaluation."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from tqdm import tqdm

from compsrt_plugin.config.run_options import RunOptions
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import UpscaleCall
from compsrt_plugin.models.data_set_evaluation import evaluate_data_set, log_scores
from compsrt_plugin.models.evaluation import Evaluator, Upscale, bicubic, check_metrics
from compsrt_plugin.models.image_runner import ImageRunner
from compsrt_plugin.packed.networks import weights_entry
from compsrt_plugin.quant import named_quantizers
from compsrt_plugin.report import DatasetScores, Method, Results
from compsrt_plugin.training.data import fingerprints, numbered_draws
from compsrt_plugin.training.run import TrainingRun, schedule_counters
from compsrt_plugin.training.selection import named_as_test_sets
from compsrt_plugin.training.task import Task
from compsrt_plugin.training.train_block import checked_train_block


class PipelineModel(SRModel):
    """Pass BasicSR's pipeline calls on to a `TrainingRun` and to the evaluation of data sets.

    A subclass says which files the network comes from (`settle_files`), what is trained (`new_task`), and what the
    report says about the network (`new_results`, `other_methods`).

    Args:
        opt: BasicSR's parsed options.

    Attributes:
        run: the training run; None in a test.
        options: our blocks of the options, typed.
        images: runs networks on images of any size.

    Raises:
        CompSRTError: for options or files that cannot be used.
    """

    run: TrainingRun | None = None

    def __init__(self, opt: dict[str, Any]) -> None:
        opt = copy.deepcopy(opt)
        self.options = RunOptions.of(opt)
        self.images = ImageRunner(self.options, opt["scale"], shown=opt["rank"] == 0)
        if opt.get("val"):
            check_metrics(opt["val"].get("metrics"))
        # BasicSR passes `params` if no entry is given; with None `packed.entries` chooses, in all files alike
        opt["path"]["param_key_g"] = weights_entry(opt)
        self.settle_files(opt)
        super().__init__(opt)
        network: Any = self.net_g
        self.images.set_window(network.window_size)
        self._report: Evaluator | None = None if self.is_train else self._new_evaluator(self.other_methods())
        self._sets_evaluated = 0

    @abstractmethod
    def settle_files(self, opt: dict[str, Any]) -> None:
        """Replace the files in `path:` by local ones and `network_g` by a complete block, in place.

        Raises:
            CompSRTError: a file or a network that cannot be used.
        """

    @abstractmethod
    def new_task(self) -> Task:
        """Return what `train` trains; `net_g` has its initial weights."""

    @abstractmethod
    def new_results(self) -> Results:
        """Return results without scores that describe the network."""

    def other_methods(self) -> dict[Method, Upscale]:
        """Return the methods with which the report compares the network: by default bicubic interpolation."""
        return {"bicubic": lambda lq: bicubic(lq, self.opt["scale"])}

    @classmethod
    def train_loader(cls, opt: dict[str, Any], loader: Any, val_loaders: Any, iterations: int) -> tuple[Any, Any]:
        """Return the loader of training patches and its sampler; see `basicsr_compat.hooks`."""
        opt["pictures"] = fingerprints(loader, val_loaders)
        cls.prepare_images(opt, loader.dataset)
        return numbered_draws(opt, loader, iterations)

    @classmethod
    def prepare_images(cls, opt: dict[str, Any], dataset: Any) -> None:
        """Change the training images before patches are cut from them; by default nothing."""

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move the network to this process's device; `Trainer` averages gradients, so no wrapper is needed."""
        return net.to(self.device)

    def print_network(self, net: nn.Module) -> None:
        """Log the network in one line; BasicSR would print about two thousand."""
        parameters = sum(p.numel() for p in net.parameters())
        quantizers = sum(1 for _ in named_quantizers(net))
        get_root_logger().info(f"Network: {type(net).__name__}, {parameters:,d} parameters, {quantizers} quantizers")

    # Training

    def init_training_settings(self) -> None:
        """Create the training run; prepare the network and begin, unless the run resumes from a state.

        Raises:
            CompSRTError: options that cannot be used.
        """
        self.opt["train"] = checked_train_block(self.opt)
        for name in named_as_test_sets(self.opt["datasets"]):
            get_root_logger().warning(f"Validation set {name} is a test set: results selected by it are biased there")
        self.run = run = TrainingRun(self.opt, self.new_task(), self.optimizers, self.schedulers, self._score_held_out)
        if not self.opt["path"].get("resume_state"):
            run.task.prepare(run.total)
            if run.total:
                self._begin(run)

    def _begin(self, run: TrainingRun) -> None:
        """Create trainer, optimizer and schedule."""
        train, trainer = self.opt["train"], run.begin()
        optim = dict(train["optim_g"])
        kind, lr = optim.pop("type"), optim.pop("lr")
        self.optimizer_g = self.get_optimizer(kind, trainer.parameters.groups(lr), lr, **optim)
        self.optimizers.append(self.optimizer_g)
        schedule = dict(train["scheduler"])
        self.setup_schedulers()  # removes the type from the block
        train["scheduler"] = schedule

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Continue from a state that `save` wrote.

        Raises:
            CompSRTError: the state is of another teacher, network, quantization, set of images, or kind of training.
        """
        run = self._running()
        run.restore_network(resume_state)
        self._begin(run)
        super().resume_training({**resume_state, "schedulers": schedule_counters(resume_state)})
        run.restore(resume_state)

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; beside BasicSR's `lq` and `gt` it may have `target`, the teacher's output."""
        super().feed_data(data)
        self.target = data["target"].to(self.device) if "target" in data else None

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Begin iteration `current_iter`: stop if requested, otherwise set the learning rates."""
        self._running().before_iteration()
        super().update_learning_rate(current_iter, warmup_iter)

    def optimize_parameters(self, current_iter: int) -> None:
        """Run one iteration.

        Raises:
            CompSRTError: the loss or a gradient is not finite, or the loss exploded.
        """
        values = self._running().step(self.optimizer_g, self.lq, self.gt, self.target)
        self.log_dict = {f"l_{name}": value for name, value in values.items()}

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the training state; at the end (`current_iter` -1) the result, `models/NAME.safetensors`."""
        if current_iter == -1:
            self._running().finish()
        else:
            self._running().write_state()

    def _running(self) -> TrainingRun:
        assert self.run is not None, "a test does not train"
        return self.run

    # Evaluation

    def run_network(self, network: UpscaleCall, lq: Tensor) -> Tensor:
        """Super-resolve an image of any size, (b, c, h, w) in 0..1, with a network in eval mode."""
        return self.images.run(network, lq)

    def test(self) -> None:
        """Super-resolve `self.lq` with the network."""
        self.net_g.eval()
        self.output = self.run_network(self.net_g, self.lq)

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Evaluate one data set: to select the result during training, otherwise for the report.

        The report is written and printed after the last data set. Each process evaluates its share of the images.

        Args:
            dataloader: BasicSR's loader; an empty data set is skipped.
            current_iter: iteration (train) or name of the run (test), for file names and TensorBoard.
            tb_logger: TensorBoard writer or None.
            save_img: whether output images are written.
        """
        if self.run is not None and self.run.selecting:
            self.run.validate(dataloader, current_iter, tb_logger, save_img)
            return
        if self._report is None:
            self._report = self._new_evaluator(self.other_methods())
        results, first = self._report.results, self.opt["rank"] == 0

        def before_image(index: int, lq: Tensor) -> None:
            if index == 0 and first:
                self.before_data_set(lq, results)

        self._evaluate(self._report, dataloader, "for the report", current_iter if save_img else None, before_image)
        self._sets_evaluated += 1
        sets = len(self.run.held_out.options if self.run is not None else self.opt["datasets"])
        if self._sets_evaluated < sets:
            return
        if not results.datasets and self.run is None:
            raise CompSRTError("none of the data sets was found, nothing was tested", hint="see the warnings above")
        if results.datasets and first:
            self._write_report(self._report)

    def before_data_set(self, lq: Tensor, results: Results) -> None:
        """Inspect the first image of a data set, (1, 3, h, w), before the report's evaluation; by default nothing."""

    def _new_evaluator(self, others: Mapping[Method, Upscale]) -> Evaluator:
        """Return an evaluator of the network and other methods."""
        methods: dict[Method, Upscale] = {**others, "quantized": lambda lq: self.run_network(self.net_g, lq)}
        return Evaluator(self.new_results(), methods, self.opt["val"]["metrics"])

    def _score_held_out(self, loader: Any, iteration: int, tb_logger: Any, save_img: bool) -> DatasetScores | None:
        """Score the network alone on a held-out data set; see `TrainingRun`."""
        evaluator, check_stop = self._new_evaluator({}), self._running().check_stop
        occasion = f"after iteration {iteration}" if iteration else "before the first iteration"
        self._evaluate(evaluator, loader, occasion, iteration if save_img else None, lambda *_: check_stop())
        name = loader.dataset.opt["name"]
        log_scores(evaluator.results, name, iteration, tb_logger)
        return evaluator.results.datasets.get(name)

    def _evaluate(
        self, evaluator: Evaluator, loader: Any, occasion: str, suffix: Any, before_image: Callable[[int, Tensor], None]
    ) -> None:
        """Evaluate a data set; write its output images if `suffix`, the end of their names, is not None."""
        images = None
        if suffix is not None:
            folder = Path(self.opt["path"]["visualization"]) / loader.dataset.opt["name"]
            images = folder, str(self.opt["val"].get("suffix") or suffix)
        self.net_g.eval()
        evaluate_data_set(evaluator, loader, self.device, occasion, images, before_image)

    def _write_report(self, evaluator: Evaluator) -> None:
        results, run, paths = evaluator.results, self.run, self.opt["path"]
        folder = Path(paths["experiments_root"] if run is not None else paths["results_root"])
        if run is not None and run.task.start_label is not None:
            run.held_out.add_start(results, run.task.start_label)
        if self.images.used_tile is not None:
            results.extra["tile"] = {**asdict(self.images.used_tile), "automatic": self.images.tile is None}
        table = evaluator.write(folder)
        for name in results.datasets:
            log_scores(results, name, self.opt["name"], None)
        get_root_logger().info(f"Written: {folder / 'results.json'}, {folder / 'results.md'}")
        tqdm.write(table)
