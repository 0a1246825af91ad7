"""The table of option keys: what BasicSR's pipelines, our models and our data sets read, and what each value may be.

Every check of an option file comes from here: missing keys, misspelt ones, wrong values. `tests/config` holds it
against BasicSR's sources. Arguments of networks stand in `network_g`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from compsrt_plugin.config.checks import (
    Check,
    anything,
    choice,
    count,
    file_name,
    flag,
    list_of,
    number,
    optional,
    path,
    text,
    whole,
)
from compsrt_plugin.config.keys import Key, Table, Tables, block_by_type, block_of
from compsrt_plugin.errors import CompSRTError

MOST_BYTES = 200
"""Of a name that becomes a folder: BasicSR adds a word and a time to it, and file systems end at 255."""
MOST_BYTES_OF_SUFFIX = 80
LARGEST_SEED = 4_000_000_000  # NumPy's end at 2^32, and processes and workers count up from the seed
OPTIMIZERS = ("Adam",)  # those that BasicSR 1.4.2 knows
PRECISIONS = ("fp32", "tf32", "bf16")
REPORTED = ("psnr", "ssim")


def _gpus(key: str, value: Any) -> None:
    if value != "auto":
        whole(0)(key, value)


def _block(key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise CompSRTError(f"{key} is {value!r}", allowed="a block of keys")


def _installed(package: str) -> Check:
    """Whatever `package` is needed for: it must be there unless the value is null."""

    def check(key: str, value: Any) -> None:
        if value is not None and importlib.util.find_spec(package) is None:
            raise CompSRTError(f"{key} is {value!r}, but {package} is not installed", hint=f"pip install {package}")

    return check


def _both(*checks: Check) -> Check:
    def check(key: str, value: Any) -> None:
        for one in checks:
            one(key, value)

    return check


def _paddings() -> Iterable[str]:
    from compsrt_plugin.inference import PADDINGS

    return PADDINGS


def _embedded() -> Iterable[str]:
    from compsrt_plugin.data.embedded import EMBEDDED_IMAGES

    return EMBEDDED_IMAGES


def _subsets() -> Iterable[str]:
    from compsrt_plugin.data.embedded import SUBSETS

    return SUBSETS


# Our own blocks are typed in `schema`, which needs torch: `basicsr train --help` does without.
def _quant(_key: str, value: Any) -> None:
    from compsrt_plugin.config.recipes import resolve

    resolve(value)


def _prune(_key: str, value: Any) -> None:
    from compsrt_plugin.config.schema import PruneBlock
    from compsrt_plugin.pruning import PRUNING_REGISTRY

    choice(lambda: [name for name, _ in PRUNING_REGISTRY], own=True)("prune.hook", PruneBlock.from_dict(value).hook)


def _distill(_key: str, value: Any) -> None:
    from compsrt_plugin.config.schema import DistillBlock

    DistillBlock.from_dict(value)


def _tile(_key: str, value: Any) -> None:
    from compsrt_plugin.config.schema import TileBlock

    TileBlock.from_dict(value)


# --- io_backend: arguments of BasicSR's FileClient backends, less those that a data set fills in itself
IO: Tables = {
    "disk": {},
    "lmdb": {},  # `basicsr_compat.data` opens each database once, with BasicSR's defaults
    "memcached": {
        "server_list_cfg": Key(_both(text(), _installed("mc")), needed=True),
        "client_cfg": Key(text(), needed=True),
        "sys_path": Key(optional(text())),
    },
}
_IO_BACKEND = block_by_type(IO)

# --- data sets
_NUMBERS = list_of(number(-1e9), length=3)
_DEVIATIONS = list_of(number(0, above=True), length=3)
NAMES: Table = {"name": Key(text(), needed=True), "type": Key(text(), needed=True)}
JUDGED_NAMES: Table = {**NAMES, "name": Key(file_name(MOST_BYTES), needed=True)}
LOADING_TO_JUDGE: Table = {
    "pin_memory": Key(flag()),
    "prefetch_mode": Key(optional(choice(lambda: ("cpu",)))),
    "num_prefetch_queue": Key(whole(1, 1000)),
}
LOADING_TO_TRAIN: Table = {
    **LOADING_TO_JUDGE,
    "prefetch_mode": Key(optional(choice(lambda: ("cpu", "cuda")))),
    "batch_size_per_gpu": Key(whole(1), needed=True),
    "num_worker_per_gpu": Key(whole(0), needed=True),
    "dataset_enlarge_ratio": Key(number(0, below=1e9, above=True)),
    "persistent_workers": Key(flag()),
}
_PICTURES: Table = {
    "mean": Key(optional(_NUMBERS)),
    "std": Key(optional(_DEVIATIONS)),
    "color": Key(optional(text())),
}
_PAIRS: Table = {
    **_PICTURES,
    "dataroot_gt": Key(optional(path())),
    "dataroot_lq": Key(optional(path())),
    "filename_tmpl": Key(text()),
    "meta_info_file": Key(optional(path())),
    "io_backend": Key(_IO_BACKEND, needed=True),
}
_CROPS: Table = {name: Key(flag(), needed=True) for name in ("use_hflip", "use_rot")}
_CROPS = {"gt_size": Key(whole(1), needed=True), **_CROPS}
_OURS: Table = {
    **_PAIRS,
    "filename_tmpl": Key(optional(text())),
    "io_backend": Key(optional(_IO_BACKEND)),
    "embedded": Key(optional(choice(_embedded))),
    "subset": Key(optional(choice(_subsets))),
}
TRAINING_SET, JUDGED_SET = "a training set", "a set that is judged"
DATA_SETS: dict[str, Tables] = {
    "CompSRTPairedDataset": {
        TRAINING_SET: {
            **NAMES,
            **LOADING_TO_TRAIN,
            **_OURS,
            **_CROPS,
            "keep_in_memory": Key(flag()),
            "shrunk": Key(optional(list_of(number(0, below=1, above=True)))),
        },
        JUDGED_SET: {
            **JUDGED_NAMES,
            **LOADING_TO_JUDGE,
            **_OURS,
            "centre_patch": Key(optional(whole(1))),
            "strict_data": Key(flag()),
        },
    },
    "PairedImageDataset": {
        TRAINING_SET: {**NAMES, **LOADING_TO_TRAIN, **_PAIRS, **_CROPS},
        JUDGED_SET: {**JUDGED_NAMES, **LOADING_TO_JUDGE, **_PAIRS},
    },
    "SingleImageDataset": {
        TRAINING_SET: {**NAMES, **LOADING_TO_TRAIN},
        JUDGED_SET: {
            **JUDGED_NAMES,
            **LOADING_TO_JUDGE,
            **_PICTURES,
            "dataroot_lq": Key(path(), needed=True),
            "meta_info_file": Key(path()),
            "io_backend": Key(_IO_BACKEND, needed=True),
        },
    },
}
FOREIGN_SET: Tables = {
    TRAINING_SET: {**NAMES, **LOADING_TO_TRAIN, "io_backend": Key(optional(_IO_BACKEND))},
    JUDGED_SET: {**JUDGED_NAMES, **LOADING_TO_JUDGE, "io_backend": Key(optional(_IO_BACKEND))},
}

# --- path
_WEIGHTS: Table = {
    "pretrain_network_g": Key(optional(path())),
    "strict_load_g": Key(flag()),
    "param_key_g": Key(optional(text())),
}
_OUR_WEIGHTS: Table = {**_WEIGHTS, "pretrain_network_teacher": Key(optional(path()))}
_RESUMED: Table = {"resume_state": Key(optional(path()))}
_OTHER_NETWORKS: Table = {
    "pretrain_network_d": Key(optional(path())),
    "strict_load_d": Key(flag()),
    "param_key_d": Key(optional(text())),
    "ignore_resume_networks": Key(optional(anything())),
}
PATH: Tables = {"basicsr train": {**_OUR_WEIGHTS, **_RESUMED}, "basicsr test": _OUR_WEIGHTS}
FOREIGN_PATH: Tables = {
    "basicsr train": {**_WEIGHTS, **_RESUMED, **_OTHER_NETWORKS},
    "basicsr test": {**_WEIGHTS, **_OTHER_NETWORKS},
}

# --- train
ADAM: Table = {
    "lr": Key(number(0, above=True), needed=True),
    "weight_decay": Key(number(0)),
    "betas": Key(list_of(number(0, below=1), length=2)),
    "eps": Key(number(0)),
    "amsgrad": Key(flag()),
}
OPTIMIZER = block_by_type(dict.fromkeys(OPTIMIZERS, ADAM))
_STEPS: Table = {
    "milestones": Key(list_of(whole(0)), needed=True),
    "gamma": Key(number(0, above=True)),
    "restarts": Key(list_of(whole(0))),
    "restart_weights": Key(list_of(number(0, above=True))),
}
COSINE = "CosineAnnealingRestartLR"
_COSINE: Table = {
    "periods": Key(list_of(whole(1))),  # without it there is one, of total_iter
    "restart_weights": Key(list_of(number(0, above=True))),
    "eta_min": Key(number(0)),
}
BY_SCHEDULER: Tables = {"MultiStepLR": _STEPS, "MultiStepRestartLR": _STEPS, COSINE: _COSINE}


def scheduler(key: str, value: Any) -> None:
    """Check `train.scheduler`: its keys, and that each period or restart has its weight."""
    block_by_type(BY_SCHEDULER)(key, value)
    parts = "periods" if value["type"] == COSINE else "restarts"
    found, weights = len(value.get(parts, [1])), len(value.get("restart_weights", [1]))
    if found != weights:
        raise CompSRTError(f"{key} has {found} {parts}, {weights} restart_weights", allowed="as many of each")


EMA_DECAY = optional(number(0, below=1))
_ITERATIONS: Table = {"total_iter": Key(count(0), needed=True), "warmup_iter": Key(count(-1))}
_TRAINED: Table = {
    **_ITERATIONS,
    "ema_decay": Key(EMA_DECAY),
    "optim_g": Key(OPTIMIZER),
    "scheduler": Key(scheduler),
}
TRAIN: Tables = {
    "CompSRTModel": _TRAINED,
    "CompSRTTeacherModel": {
        **_TRAINED,
        "precision": Key(choice(lambda: PRECISIONS)),
        "compile": Key(flag()),
        "teacher_once": Key(flag()),
    },
}
FOREIGN_TRAIN: Table = {**_ITERATIONS, "ema_decay": Key(number(0, below=1))}

# --- val
METRIC: Table = {
    "type": Key(text(), needed=True),
    "crop_border": Key(whole(0, 8), needed=True),
    "test_y_channel": Key(flag()),
    "input_order": Key(choice(lambda: ("HWC",))),  # what pictures are when they are judged
    "better": Key(choice(lambda: ("higher", "lower"))),
}
METRICS: Table = {name: Key(block_of(METRIC), needed=name == "psnr") for name in REPORTED}
_JUDGED: Table = {
    "save_img": Key(flag(), needed=True),
    "suffix": Key(optional(file_name(MOST_BYTES_OF_SUFFIX))),
    "padding": Key(choice(_paddings)),
    "metrics": Key(block_of(METRICS), needed=True),
}
_FREQUENCY: Table = {"val_freq": Key(count(1), needed=True)}
VAL: Tables = {"basicsr train": {**_FREQUENCY, **_JUDGED}, "basicsr test": {**_JUDGED, "engine": Key(flag())}}


def _foreign_metrics(key: str, value: Any) -> None:
    _block(key, value)
    for name, metric in value.items():
        _block(f"{key}.{name}", metric)
        if "type" not in metric:
            raise CompSRTError(f"the option file has no key '{key}.{name}.type'", hint="see the installed option files")
        text()(f"{key}.{name}.type", metric["type"])


_FOREIGN_JUDGED: Table = {
    "save_img": Key(flag(), needed=True),
    "suffix": Key(optional(file_name(MOST_BYTES_OF_SUFFIX))),
    "pbar": Key(flag()),
    "metrics": Key(optional(_foreign_metrics)),
}
FOREIGN_VAL: Tables = {
    "basicsr train": {**_FREQUENCY, **_FOREIGN_JUDGED},
    "basicsr test": {**_FOREIGN_JUDGED, "suffix": Key(optional(file_name(MOST_BYTES_OF_SUFFIX)), needed=True)},
}

# --- logger, dist_params
WANDB: Table = {
    "project": Key(_both(optional(text()), _installed("wandb"))),
    "resume_id": Key(optional(text())),
}
LOGGER: Table = {
    "print_freq": Key(count(1), needed=True),
    "save_checkpoint_freq": Key(count(1), needed=True),
    "use_tb_logger": Key(flag(), needed=True),
    "wandb": Key(optional(block_of(WANDB))),
}


def logger(key: str, value: Any) -> None:
    """Check `logger`: its keys, and that Weights & Biases has TensorBoard's figures to take."""
    block_of(LOGGER)(key, value)
    if (value.get("wandb") or {}).get("project") is not None and not value["use_tb_logger"]:
        raise CompSRTError(f"{key}.wandb.project is given, {key}.use_tb_logger is false", hint="set it to true")


_DIST: Table = {"backend": Key(choice(lambda: ("nccl", "gloo", "mpi"))), "port": Key(optional(whole(1, 65535)))}

# --- the whole file; what a block holds is checked where its reader is known
PIPELINE: Table = {
    "name": Key(file_name(MOST_BYTES), needed=True),
    "model_type": Key(text(), needed=True),
    "scale": Key(whole(1), needed=True),
    "num_gpu": Key(_gpus, needed=True),
    "manual_seed": Key(optional(whole(0, LARGEST_SEED))),
    "datasets": Key(_block, needed=True),
    "network_g": Key(_block, needed=True),
    "path": Key(_block, needed=True),
    "dist_params": Key(optional(block_of(_DIST))),
}
OUR_BLOCKS: Table = {
    "quant": Key(optional(_quant)),
    "tile": Key(optional(_tile)),
    "prune": Key(optional(_prune)),
    "distill": Key(optional(_distill)),
}
_FOR_TRAINING: Table = {"train": Key(_block, needed=True), "logger": Key(logger, needed=True)}
FOREIGN_FILE: Tables = {
    "basicsr train": {**PIPELINE, **_FOR_TRAINING, "val": Key(optional(_block))},
    "basicsr test": {**PIPELINE, "val": Key(_block, needed=True)},
}
FILE: Tables = {
    "basicsr train": {**FOREIGN_FILE["basicsr train"], **OUR_BLOCKS},
    "basicsr test": {
        **FOREIGN_FILE["basicsr test"],
        **{name: OUR_BLOCKS[name] for name in ("quant", "tile")},
    },
}
