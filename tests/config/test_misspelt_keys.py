"""A key that nothing reads is refused with the nearest that something reads; in classes of others it is a warning."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY

import compsrt_plugin
from compsrt_plugin.config.check import check_options
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError

compsrt_plugin.register()

from compsrt_plugin.data.paired_dataset import CompSRTPairedDataset  # noqa: E402
from compsrt_plugin.models.compsrt_model import CompSRTModel  # noqa: E402


class OwnModel(CompSRTModel):
    """A user's, which reads a key of its own."""

    own_key = "patience"


class OwnPairs(CompSRTPairedDataset):
    """A user's, which reads a key of its own."""

    own_key = "cut_blur"


class OtherModel(SRModel):
    """A user's that is none of ours."""

    own_keys = ("patience", "tile", "tile_pad")


@pytest.fixture
def own_classes() -> Iterator[None]:
    registries = {MODEL_REGISTRY: (OwnModel, OtherModel), DATASET_REGISTRY: (OwnPairs,)}
    for registry, classes in registries.items():
        for entry in classes:
            registry._obj_map[entry.__name__] = entry
    yield
    for registry, classes in registries.items():
        for entry in classes:
            del registry._obj_map[entry.__name__]


def options(command: str, *entries: str, name: str = "compsrt_x4_3bit") -> dict[str, Any]:
    found = read_option_file(option_files(command)[name])
    apply_force_yml(found, entries)
    return found


def of_basicsr(command: str, *entries: str) -> dict[str, Any]:
    """Return options as they are for BasicSR's own model and data set."""
    found = options(command)
    data = {"name": "Mine", "type": "PairedImageDataset", "dataroot_gt": "HR", "dataroot_lq": "LR"}
    data["io_backend"] = {"type": "disk"}
    for block in ("quant", "distill"):
        found.pop(block, None)
    found["val"].pop("padding")
    crops = {"gt_size": 64, "use_hflip": True, "use_rot": True, "num_worker_per_gpu": 0, "batch_size_per_gpu": 1}
    sets = {"test": {"test_1": data}, "train": {"train": {**data, **crops}, "val": dict(data)}}
    found.update(model_type="SRModel", datasets=sets[command], network_g={"type": "MSRResNet", "upscale": 4})
    found["path"].pop("pretrain_network_teacher", None)
    if command == "train":
        found["train"].update(pixel_opt={"type": "L1Loss", "loss_weight": 1.0}, scheduler={"type": "MultiStepLR"})
        found["train"]["scheduler"].update(milestones=[100], gamma=0.5)
    apply_force_yml(found, entries)
    return found


@pytest.mark.parametrize(
    ("command", "entry", "says"),
    [
        (
            "test",
            "path:pretrain_network=mine.pth",
            "key in path: 'pretrain_network'.*did you mean 'pretrain_network_g'",
        ),
        ("test", "path:pretrained_network_g=foo", "key in path: 'pretrained_network_g'.*did you mean"),
        ("test", "path:results_root=elsewhere", "unknown key in path: 'results_root'"),
        ("test", "path:resume_state=1.state", "path has the key 'resume_state', which only basicsr train would read"),
        ("train", "train:total_itr=5", "key in train: 'total_itr'.*did you mean 'total_iter'"),
        ("train", "train:pixel_opt={type: L1Loss}", "unknown key in train: 'pixel_opt'"),
        ("train", "train:precision=bf16", "train has the key 'precision', which only CompSRTTeacherModel would read"),
        ("train", "train:compile=true", "train has the key 'compile', which only CompSRTTeacherModel would read"),
        ("train", "train:teacher_once=true", "which only CompSRTTeacherModel would read"),
        ("train", "train:optim_g:learning_rate=0.1", "key in train.optim_g: 'learning_rate'"),
        ("train", "train:optim_g:weight_decy=0", "did you mean 'weight_decay'"),
        ("train", "train:scheduler:period=[300]", "key in train.scheduler: 'period'.*did you mean 'periods'"),
        ("train", "train:scheduler:milestones=[300]", "has the key 'milestones', which only MultiStepLR and"),
        ("train", "val:val_frq=5", "key in val: 'val_frq'.*did you mean 'val_freq'"),
        ("train", "val:engine=true", "val has the key 'engine', which only basicsr test would read"),
        ("train", "val:metrics:psnr:crop_boarder=4", "key in val.metrics.psnr: 'crop_boarder'.*did you mean"),
        ("test", "val:val_freq=5", "val has the key 'val_freq', which only basicsr train would read"),
        ("train", "logger:print_freqs=5", "key in logger: 'print_freqs'.*did you mean 'print_freq'"),
        ("train", "logger:wandb:projct=a", "key in logger.wandb: 'projct'.*did you mean 'project'"),
        ("train", "datasets:train:gt_sizes=64", "key in datasets.train: 'gt_sizes'.*did you mean 'gt_size'"),
        ("train", "datasets:val:dataroot=HR", "key in datasets.val: 'dataroot'.*did you mean 'dataroot_"),
        ("train", "datasets:val:keep_in_memory=true", "'keep_in_memory', which only a training set would read"),
        ("train", "datasets:train:centre_patch=96", "'centre_patch', which only a set that is judged would read"),
        ("train", "datasets:train:io_backend:kind=disk", "unknown key in datasets.train.io_backend: 'kind'"),
        ("train", "dist_params:prot=29500", "key in dist_params: 'prot'.*did you mean 'port'"),
        ("test", "prune:ratio=0.5", "has the key 'prune', which only basicsr train would read"),
        ("test", "distill:target_weight=1", "has the key 'distill', which only basicsr train would read"),
    ],
)
def test_a_key_that_nothing_reads_is_refused_with_the_nearest(command: str, entry: str, says: str) -> None:
    with pytest.raises(CompSRTError, match=says) as caught:
        check_options(options(command, entry), command, "a.yml")
    assert "\n" not in str(caught.value)


def test_a_key_of_the_whole_file_is_refused_too() -> None:
    found = options("train")
    found["manual_sed"] = 1
    with pytest.raises(CompSRTError, match=r"unknown key in the option file: 'manual_sed'.*did you mean 'manual_seed'"):
        check_options(found, "train", "a.yml")


def test_the_teachers_model_reads_what_training_in_full_precision_needs() -> None:
    found = options("train", "train:precision=bf16", "train:compile=true", name="swinir_light_x4_teacher")
    check_options(found, "train", "a.yml")
    with pytest.raises(CompSRTError, match=r"unknown train\.precision: 'fp8'; allowed: bf16, fp32, tf32"):
        check_options({**found, "train": {**found["train"], "precision": "fp8"}}, "train", "a.yml")


@pytest.mark.parametrize("command", ["train", "test"])
def test_options_of_basicsrs_own_classes_pass_without_a_word(
    command: str, basicsr_log: pytest.LogCaptureFixture
) -> None:
    check_options(of_basicsr(command), command, "a.yml")
    assert basicsr_log.messages == []


@pytest.mark.parametrize("block", ["train:total_itr=5", "datasets:train:gt_sizes=64", "val:val_frq=5"])
def test_in_basicsrs_own_classes_a_misspelt_key_is_a_warning(block: str, basicsr_log: pytest.LogCaptureFixture) -> None:
    check_options(of_basicsr("train", block), "train", "a.yml")
    key = block.split("=")[0].split(":")[-1]
    assert [record.levelname for record in basicsr_log.records] == ["WARNING"]
    assert f"'{key}'" in basicsr_log.text and "did you mean" in basicsr_log.text


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("train:pixel_opt:weight=2", r"train\.pixel_opt does not fit L1Loss: .*'weight'"),
        ("train:pixel_opt:type=L1Los", r"train\.pixel_opt\.type: 'L1Los'.*did you mean 'L1Loss'"),
        ("train:optim_g:type=SGD", r"train\.optim_g\.type: 'SGD'; allowed: Adam"),
        ("network_g:num_blocks=3", r"network_g does not fit MSRResNet: .*'num_blocks'"),
        ("datasets:train:use_hflip=~", r"datasets\.train\.use_hflip is None"),
    ],
)
def test_what_basicsr_calls_its_classes_with_must_fit_them(entry: str, says: str) -> None:
    with pytest.raises(CompSRTError, match=says):
        check_options(of_basicsr("train", entry), "train", "a.yml")


@pytest.mark.usefixtures("own_classes")
def test_a_class_derived_from_ours_may_read_keys_of_its_own(basicsr_log: pytest.LogCaptureFixture) -> None:
    entries = ["model_type=OwnModel", "datasets:train:type=OwnPairs", "train:patience=3", "datasets:train:cut_blur=0.5"]
    check_options(options("train", *entries), "train", "a.yml")
    assert basicsr_log.messages == []
    check_options(options("train", *entries, "train:patence=3"), "train", "a.yml")
    assert "OwnModel" in basicsr_log.text and "'patence'" in basicsr_log.text
    with pytest.raises(CompSRTError, match=r"train\.total_iter is -1"):
        check_options(options("train", *entries, "train:total_iter=-1"), "train", "a.yml")


@pytest.mark.parametrize(
    "block", ["quant={recipe: plus, bits: 3}", "prune={ratio: 0.5}", "distill={}", "tile={size: 64}"]
)
@pytest.mark.parametrize("model", ["SRModel", "SwinIRModel"])
def test_our_blocks_are_refused_where_the_model_does_not_read_them(block: str, model: str) -> None:
    name = block.split("=")[0]
    with pytest.raises(CompSRTError, match=f"has the block {name}:, and model_type {model} does not read it; allowed"):
        check_options(of_basicsr("train", block, f"model_type={model}"), "train", "a.yml")


@pytest.mark.usefixtures("own_classes")
def test_a_foreign_model_may_have_a_block_of_the_same_name(basicsr_log: pytest.LogCaptureFixture) -> None:
    entries = ["model_type=OtherModel", "tile={tile_pad: 8}", "train:patience=3"]
    check_options(of_basicsr("train", *entries), "train", "a.yml")
    assert basicsr_log.messages == []


def test_two_judged_data_sets_of_one_name_are_refused() -> None:
    found = options("test")
    found["datasets"]["val_2"] = copy.deepcopy(found["datasets"]["test_2"])
    with pytest.raises(CompSRTError, match=r"datasets\.test_2 and datasets\.val_2 have the same name 'Set5'"):
        check_options(found, "test", "a.yml")
    found["datasets"]["val_2"]["name"] = "Set5, bounds only"
    with pytest.raises(CompSRTError, match="names that do not end in"):
        check_options(found, "test", "a.yml")


def test_a_training_set_may_have_the_name_of_the_held_out_one() -> None:
    found = options("train", "datasets:val:name=Calibration")
    check_options(found, "train", "a.yml")
