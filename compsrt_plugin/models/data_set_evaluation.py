"""Evaluation of a whole data set from BasicSR's loader, shared among the processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from compsrt_plugin.data.images import write_image
from compsrt_plugin.data.names import ImageNames
from compsrt_plugin.models.evaluation import Evaluator
from compsrt_plugin.processes import gather, processes
from compsrt_plugin.report import Results
from compsrt_plugin.terminal import progress

COMPARED_SET = "Demo"  # the data set whose outputs are drawn side by side


def evaluate_data_set(
    evaluator: Evaluator,
    loader: Any,
    device: torch.device,
    occasion: str,
    images: tuple[Path, str] | None,
    before_image: Callable[[int, Tensor], None],
) -> None:
    """Evaluate every image of a data set; every process has all scores afterwards.

    Args:
        evaluator: scores the images.
        loader: BasicSR's loader; an empty data set adds no scores.
        device: of the networks.
        occasion: why the data set is evaluated, for the log.
        images: folder and suffix of the output images; None writes none.
        before_image: called with the index of each image and its low-resolution pixels (1, 3, h, w).

    Raises:
        CompSRTError: an image cannot be read or written.
    """
    rank, _ = processes()
    dataset, names, count = loader.dataset.opt["name"], ImageNames(loader.dataset), len(loader)
    if rank == 0 and count:
        get_root_logger().info(f"Evaluating {dataset}, {count} image{'s' * (count > 1)}, {occasion}")
    if images is not None:
        names.check_written(images[1])
    for index, data in enumerate(progress(_share(loader), shown=rank == 0, desc=dataset, unit="images", leave=False)):
        lq, gt, path = data["lq"].to(device), data["gt"], data["gt_path"][0]
        before_image(index, lq)
        outputs = evaluator.evaluate(dataset, names.of(path), lq, gt)
        if images is None:
            continue
        folder, suffix = images
        write_image(folder / names.written(data["lq_path"][0], suffix), outputs["quantized"])
        if dataset == COMPARED_SET:
            comparison = folder / names.written(path, "comparison")
            evaluator.save_comparison(comparison, dataset, names.of(path), outputs, gt)
    _gather_scores(evaluator.results, dataset)


def log_scores(results: Results, dataset: str, current_iter: Any, tb_logger: Any) -> None:
    """Log the mean scores of a data set, and add their PSNR to TensorBoard if `tb_logger` is not None."""
    if dataset not in results.datasets:
        return
    for method, score in results.datasets[dataset].mean.by_method().items():
        name = "full precision" if method == "quantized" and results.full_precision else method
        get_root_logger().info(f"{dataset}, {name}: {score.to_dict()}")
        if tb_logger:
            tb_logger.add_scalar(f"metrics/{dataset}/{name}/psnr", score.psnr, current_iter)


def _share(loader: DataLoader) -> DataLoader:
    """Return a loader of this process's share: every n-th image, for n processes."""
    rank, count = processes()
    if count == 1:
        return loader
    dataset: Any = loader.dataset
    return DataLoader(Subset(dataset, range(rank, len(dataset), count)), batch_size=1)


def _gather_scores(results: Results, dataset: str) -> None:
    """Give every process all scores, in the order in which one process would have computed them."""
    if processes()[1] == 1:
        return
    own = results.datasets.pop(dataset, None)
    shares = [list(share) for share in gather(list(own.per_image.items()) if own else [])]
    for turn in range(max(map(len, shares))):
        for share in shares:
            for image, scores in share[turn : turn + 1]:
                results.add_image(dataset, image, **scores.by_method())
