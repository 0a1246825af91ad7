"""The keys of an option file that BasicSR's pipelines and our models read, by block and by reader.

A `Foreign…` block is what BasicSR itself reads, where the model is not one of ours. `tests/config` compares the blocks
with BasicSR's sources. The keys of data sets stand in `data_set_blocks`, our own blocks in `blocks`, the arguments of
networks in `network_g`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from compsrt_plugin.config.blocks import DistillBlock, PruneBlock, QuantBlock, TileBlock
from compsrt_plugin.config.train_blocks import CompSRTTrain, TeacherTrain
from compsrt_plugin.config.typed import Block, Variants
from compsrt_plugin.config.values import (
    CountFromOne,
    FilePath,
    FolderName,
    FromOne,
    FromZero,
    Suffix,
    Text,
    installed,
    names,
)
from compsrt_plugin.errors import CompSRTError

LARGEST_SEED = 4_000_000_000  # NumPy's seeds end at 2^32, and processes and workers count up from the seed


def _paddings() -> Iterable[str]:
    from compsrt_plugin.inference import PADDINGS

    return PADDINGS


Padding = Annotated[str, names(_paddings)]
Seed = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Border = Annotated[int, Meta(ge=0, le=8)]
WandbProject = Annotated[str, installed("wandb")]
KeyBlock = Annotated[dict[str, Any], Meta(extra={"allowed": "a block of keys"})]


# --- path
class _Start(Block, frozen=True, kw_only=True):
    """Which weights a run starts from.

    Attributes:
        pretrain_network_g: file (path or URL). In `train` full-precision weights, in `test` a packed file; null means
            the bundled ones.
        strict_load_g: a key of BasicSR's; our models always load strictly.
        param_key_g: entry of the weight file, such as `params_ema`; null takes the usual one.
    """

    pretrain_network_g: FilePath | None = None
    strict_load_g: bool = True
    param_key_g: Text | None = None


class TestPath(_Start, frozen=True, kw_only=True):
    """`path:` of `basicsr test`.

    Attributes:
        pretrain_network_teacher: full-precision weights to compare with (path or URL); null means the bundled ones.
    """

    pretrain_network_teacher: FilePath | None = None


class TrainPath(TestPath, frozen=True, kw_only=True):
    """`path:` of `basicsr train`.

    Attributes:
        resume_state: training state to go on from.
    """

    resume_state: FilePath | None = None


class ForeignTestPath(_Start, frozen=True, kw_only=True):
    """`path:` of `basicsr test` with another model."""

    pretrain_network_d: FilePath | None = None
    strict_load_d: bool = True
    param_key_d: Text | None = None
    ignore_resume_networks: Any = None


class ForeignTrainPath(ForeignTestPath, frozen=True, kw_only=True):
    """`path:` of `basicsr train` with another model."""

    resume_state: FilePath | None = None


# --- val
class Metric(Block, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        type: function that computes it.
        crop_border: pixels at the border that are left out.
        test_y_channel: judge the luma channel only.
        input_order: order of the axes, `HWC`.
        better: `higher` or `lower`, by which BasicSR tells the best iteration.
    """

    type: Text
    crop_border: Border
    test_y_channel: bool = False
    input_order: Literal["HWC"] = "HWC"
    better: Literal["higher", "lower"] = "higher"


class Metrics(Block, frozen=True, kw_only=True):
    """`val.metrics`: the metrics of our models.

    Attributes:
        psnr: peak signal-to-noise ratio; always needed.
        ssim: structural similarity.
    """

    where = "val.metrics"

    psnr: Metric
    ssim: Metric | UnsetType = UNSET


class _Saving(Block, frozen=True, kw_only=True):
    """Whether output images are written.

    Attributes:
        save_img: write the output images.
        suffix: added to their names; null adds the name of the run.
    """

    save_img: bool
    suffix: Suffix | None = None


class _Judging(_Saving, frozen=True, kw_only=True):
    """How our models are judged.

    Attributes:
        padding: how images are padded to whole windows: `reflect` as in BasicSR, `flip` as in SwinIR's own test.
        metrics: the metrics.
    """

    padding: Padding = "reflect"
    metrics: Metrics


class TrainVal(_Judging, frozen=True, kw_only=True):
    """`val:` of `basicsr train`.

    Attributes:
        val_freq: iterations between two validations.
    """

    val_freq: CountFromOne


class TestVal(_Judging, frozen=True, kw_only=True):
    """`val:` of `basicsr test`.

    Attributes:
        engine: judge the compiled engine too.
    """

    engine: bool = False


class ForeignTrainVal(_Saving, frozen=True, kw_only=True):
    """`val:` of `basicsr train` with another model."""

    val_freq: CountFromOne
    pbar: bool = True
    metrics: KeyBlock | None = None


class ForeignTestVal(Block, frozen=True, kw_only=True):
    """`val:` of `basicsr test` with another model; BasicSR needs a suffix there, which may be null."""

    save_img: bool
    suffix: Suffix | None
    pbar: bool = True
    metrics: KeyBlock | None = None


# --- logger, dist_params
class Wandb(Block, frozen=True, kw_only=True):
    """`logger.wandb`: Weights & Biases.

    Attributes:
        project: name of the project; null logs nothing there.
        resume_id: run to go on with.
    """

    project: WandbProject | None = None
    resume_id: Text | None = None


class Logger(Block, frozen=True, kw_only=True):
    """`logger:` of `basicsr train`.

    Attributes:
        print_freq: iterations between two lines of the log.
        save_checkpoint_freq: iterations between two training states.
        use_tb_logger: write TensorBoard's files.
        wandb: Weights & Biases.
    """

    where = "logger"

    print_freq: CountFromOne
    save_checkpoint_freq: CountFromOne
    use_tb_logger: bool
    wandb: Wandb | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wandb is not None and self.wandb.project is not None and not self.use_tb_logger:
            found = "logger.wandb.project is given, logger.use_tb_logger is false"
            raise CompSRTError(found, hint="set it to true: Weights & Biases takes TensorBoard's figures")


class DistParams(Block, frozen=True, kw_only=True):
    """`dist_params:`, how several processes talk to each other.

    Attributes:
        backend: of torch.distributed.
        port: on which they meet.
    """

    backend: Literal["nccl", "gloo", "mpi"] = "nccl"
    port: Port | None = None


# --- the whole file; blocks whose reader is named inside are parsed once it is known
class _File(Block, frozen=True, kw_only=True):
    """An option file.

    Attributes:
        name: name of the run, and of the folder of its results.
        model_type: `CompSRTModel` quantizes, `CompSRTTeacherModel` trains full-precision networks.
        scale: scale factor.
        num_gpu: number of GPUs; `auto` takes those that are there, 0 the CPU.
        manual_seed: seed of all random numbers; null draws one.
        datasets: the data sets: `train` and `val`, or `test_1`, `test_2`, …
        network_g: the network: `type` and its arguments.
        path: files that the run starts from.
        dist_params: how several processes talk to each other.
    """

    name: FolderName
    model_type: Text
    scale: FromOne
    num_gpu: FromZero | Literal["auto"]
    manual_seed: Seed | None = None
    datasets: KeyBlock
    network_g: KeyBlock
    path: KeyBlock
    dist_params: DistParams | None = None


class ForeignTestFile(_File, frozen=True, kw_only=True):
    """An option file of `basicsr test`.

    Attributes:
        val: how networks are judged.
    """

    val: KeyBlock


class ForeignTrainFile(_File, frozen=True, kw_only=True):
    """An option file of `basicsr train`.

    Attributes:
        val: how networks are judged during training; null judges nothing.
        train: iterations, optimizer, schedule.
        logger: what is logged, and how often.
    """

    val: KeyBlock | None = None
    train: KeyBlock
    logger: Logger


class TestFile(ForeignTestFile, frozen=True, kw_only=True):
    """An option file of `basicsr test` with one of our models.

    Attributes:
        quant: how the network is quantized; null tests the full-precision network.
        tile: how large images are cut.
    """

    quant: QuantBlock | None = None
    tile: TileBlock | None = None


class TrainFile(ForeignTrainFile, frozen=True, kw_only=True):
    """An option file of `basicsr train` with one of our models.

    Attributes:
        quant: how the network is quantized.
        tile: how large images are cut.
        prune: which weights become zero.
        distill: the loss of calibration.
    """

    quant: QuantBlock | None = None
    tile: TileBlock | None = None
    prune: PruneBlock | None = None
    distill: DistillBlock | None = None


OUR_BLOCKS = ("quant", "tile", "prune", "distill")
FILES: Variants = {"basicsr train": TrainFile, "basicsr test": TestFile}
FOREIGN_FILES: Variants = {"basicsr train": ForeignTrainFile, "basicsr test": ForeignTestFile}
PATHS: Variants = {"basicsr train": TrainPath, "basicsr test": TestPath}
FOREIGN_PATHS: Variants = {"basicsr train": ForeignTrainPath, "basicsr test": ForeignTestPath}
TRAINS: Variants = {"CompSRTModel": CompSRTTrain, "CompSRTTeacherModel": TeacherTrain}
VALS: Variants = {"basicsr train": TrainVal, "basicsr test": TestVal}
FOREIGN_VALS: Variants = {"basicsr train": ForeignTrainVal, "basicsr test": ForeignTestVal}
