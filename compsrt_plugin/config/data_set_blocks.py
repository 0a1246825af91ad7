"""The keys of one data set of an option file, by the class that reads it and by what it is used for.

Arguments of `io_backend` are those of BasicSR's FileClient backends, without the ones that a data set fills in.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from compsrt_plugin.config.typed import Block, Variants, merged
from compsrt_plugin.config.values import FilePath, FolderName, FromOne, FromZero, PositiveShare, Text, installed

TRAINING_SET, JUDGED_SET = "a training set", "a set that is judged"


Embedded = Literal["demo", "calibration"]
Subset = Literal["train", "holdout"]
Numbers = Annotated[list[float], Meta(min_length=3, max_length=3)]
Deviations = Annotated[list[Annotated[float, Meta(gt=0)]], Meta(min_length=3, max_length=3)]
Shares = Annotated[list[PositiveShare], Meta(min_length=1)]
Enlargement = Annotated[float, Meta(gt=0, lt=1e9)]
Queue = Annotated[int, Meta(ge=1, le=1000)]


class DiskBackend(Block, frozen=True, kw_only=True, tag="disk", tag_field="type"):
    """`io_backend: {type: disk}`: images are files."""


class LmdbBackend(Block, frozen=True, kw_only=True, tag="lmdb", tag_field="type"):
    """`io_backend: {type: lmdb}`: images lie in LMDB databases (`basicsr prepare --lmdb`)."""


class MemcachedBackend(Block, frozen=True, kw_only=True, tag="memcached", tag_field="type"):
    """`io_backend: {type: memcached}`: images come from a memcached server.

    Attributes:
        server_list_cfg: file that lists the servers.
        client_cfg: file of the client's settings.
        sys_path: folder of the package `mc`.
    """

    server_list_cfg: Annotated[str, installed("mc")]
    client_cfg: Text
    sys_path: Text | None = None


IoBackend = DiskBackend | LmdbBackend | MemcachedBackend


class _Named(Block, frozen=True, kw_only=True):
    """Keys of every data set.

    Attributes:
        name: name of the data set.
        type: class of the data set.
    """

    name: Text
    type: Text


class _Judged(_Named, frozen=True, kw_only=True):
    """Keys of a data set that is judged.

    Attributes:
        name: name in results; output images go to a folder of this name.
        pin_memory: load batches into pinned memory.
        prefetch_mode: `cpu` reads ahead in a thread; null reads when needed.
        num_prefetch_queue: number of batches that are read ahead.
    """

    name: FolderName
    pin_memory: bool = False
    prefetch_mode: Literal["cpu"] | None = None
    num_prefetch_queue: Queue = 1


class _Training(_Named, frozen=True, kw_only=True):
    """Keys of a data set that is trained on.

    Attributes:
        batch_size_per_gpu: patches in a batch, for each process.
        num_worker_per_gpu: processes that read images, for each process; 0 reads in the process itself.
        dataset_enlarge_ratio: times that an epoch passes through the images.
        persistent_workers: keep the reading processes from one epoch to the next.
        pin_memory: load batches into pinned memory.
        prefetch_mode: `cpu` reads ahead in a thread, `cuda` copies ahead to the GPU; null reads when needed.
        num_prefetch_queue: number of batches that are read ahead.
    """

    batch_size_per_gpu: FromOne
    num_worker_per_gpu: FromZero
    dataset_enlarge_ratio: Enlargement = 1
    persistent_workers: bool = False
    pin_memory: bool = False
    prefetch_mode: Literal["cpu", "cuda"] | None = None
    num_prefetch_queue: Queue = 1


class _Colors(Block, frozen=True, kw_only=True):
    """How pixels are normalized; our models take images in 0..1 as they are.

    Attributes:
        mean: subtracted from the channels.
        std: the channels are divided by it.
        color: `y` for the luma channel.
    """

    mean: Numbers | None = None
    std: Deviations | None = None
    color: Text | None = None


class _Folders(_Colors, frozen=True, kw_only=True):
    """Where the pairs (low resolution, original) of a data set are.

    Attributes:
        dataroot_gt: folder of the original images.
        dataroot_lq: folder of the low-resolution images.
        meta_info_file: file that lists the images.
    """

    dataroot_gt: FilePath | None = None
    dataroot_lq: FilePath | None = None
    meta_info_file: FilePath | None = None


class _Pairs(_Folders, frozen=True, kw_only=True):
    """Keys of BasicSR's data set of pairs.

    Attributes:
        filename_tmpl: name of a low-resolution image from its original's, such as `{}x4`.
        io_backend: where images are read from.
    """

    filename_tmpl: Text = "{}"
    io_backend: IoBackend


class _Patches(Block, frozen=True, kw_only=True):
    """How training patches are cut.

    Attributes:
        gt_size: height and width of the patches in the original images, in pixels.
        use_hflip: flip patches at random.
        use_rot: rotate patches at random by multiples of 90°.
    """

    gt_size: FromOne
    use_hflip: bool
    use_rot: bool


class _OurPairs(_Folders, frozen=True, kw_only=True):
    """Keys of `CompSRTPairedDataset`.

    Attributes:
        dataroot_gt: folder of the original images; null with `embedded`, or if COMPSRT_DATA holds the set.
        dataroot_lq: folder of the low-resolution images; null makes them once, by MATLAB's bicubic.
        filename_tmpl: name of a low-resolution image from its original's, such as `{}x4`; null means `{}`.
        io_backend: where images are read from; null means the disk.
        embedded: photographs that come with scikit-image.
        subset: `train` or `holdout`: one in ten images is held out from training.
    """

    filename_tmpl: Text | None = None
    io_backend: IoBackend | None = None
    embedded: Embedded | None = None
    subset: Subset | None = None


class _OurTraining(_OurPairs, frozen=True, kw_only=True):
    """Keys of `CompSRTPairedDataset` for training.

    Attributes:
        keep_in_memory: keep the decoded images in memory.
        shrunk: also train on the images at these shares of their size.
    """

    keep_in_memory: bool = False
    shrunk: Shares | None = None


class _OurJudged(_OurPairs, frozen=True, kw_only=True):
    """Keys of `CompSRTPairedDataset` for judging.

    Attributes:
        centre_patch: judge the middle of each image only, this many low-resolution pixels wide and high; null judges
            whole images.
        strict_data: treat missing images as an error, not as a warning.
    """

    centre_patch: FromOne | None = None
    strict_data: bool = False


class _Single(_Colors, frozen=True, kw_only=True):
    """Keys of a data set of low-resolution images without originals.

    Attributes:
        dataroot_lq: folder of the low-resolution images.
        meta_info_file: file that lists the images.
        io_backend: where images are read from.
    """

    dataroot_lq: FilePath
    meta_info_file: FilePath | UnsetType = UNSET
    io_backend: IoBackend


class _Foreign(Block, frozen=True, kw_only=True):
    """Keys of a data set of another class.

    Attributes:
        io_backend: where images are read from.
    """

    io_backend: IoBackend | None = None


def _training_set(name: str, kind: str, *parts: type[Block]) -> type[Block]:
    return merged(name, f"`datasets.train` of type {kind}.", _Training, *parts)


def _judged_set(name: str, kind: str, *parts: type[Block]) -> type[Block]:
    return merged(name, f"`datasets.val` or `datasets.test_1` of type {kind}.", _Judged, *parts)


OURS, PAIRED, SINGLE, OTHER = "CompSRTPairedDataset", "PairedImageDataset", "SingleImageDataset", "another class"
DATA_SETS: dict[str, Variants] = {
    OURS: {
        TRAINING_SET: _training_set("TrainingSet", OURS, _Patches, _OurTraining),
        JUDGED_SET: _judged_set("JudgedSet", OURS, _OurJudged),
    },
    PAIRED: {
        TRAINING_SET: _training_set("PairedTrainingSet", PAIRED, _Patches, _Pairs),
        JUDGED_SET: _judged_set("PairedJudgedSet", PAIRED, _Pairs),
    },
    SINGLE: {
        TRAINING_SET: _training_set("SingleTrainingSet", SINGLE),
        JUDGED_SET: _judged_set("SingleJudgedSet", SINGLE, _Single),
    },
}
FOREIGN_SET: Variants = {
    TRAINING_SET: _training_set("ForeignTrainingSet", OTHER, _Foreign),
    JUDGED_SET: _judged_set("ForeignJudgedSet", OTHER, _Foreign),
}
