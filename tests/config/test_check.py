"""What BasicSR would stumble over later is said before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from compsrt_plugin.config.check import check_options
from compsrt_plugin.config.files import option_files
from compsrt_plugin.config.reader import read_option_file
from compsrt_plugin.errors import CompSRTError

REMOVED = object()


def installed(command: str) -> dict[str, Any]:
    return read_option_file(option_files(command)["compsrt_x4_3bit"])


@pytest.mark.parametrize("command", ["test", "train"])
def test_every_installed_file_passes(command: str) -> None:
    for path in option_files(command).values():
        check_options(read_option_file(path), command, path.name)


@pytest.mark.parametrize(
    ("command", "key", "value", "says"),
    [
        ("test", "name", REMOVED, r"has no key 'name'"),
        ("test", "name", "", r"name is ''; allowed: text"),
        ("test", "scale", "four", r"scale is 'four'; allowed: integers from 1"),
        ("test", "num_gpu", "all", r"num_gpu is 'all'"),
        ("test", "network_g", "SwinIR", r"network_g is 'SwinIR'; allowed: a block"),
        ("test", "network_g.type", REMOVED, r"no key 'network_g\.type'"),
        ("test", "datasets", {}, r"'datasets' is empty"),
        ("test", "datasets.test_2.type", REMOVED, r"no key 'datasets\.test_2\.type'"),
        ("test", "datasets.train", {}, r"unknown dataset datasets\.train; allowed: names such as test_1"),
        ("test", "val.save_img", "yes please", r"val\.save_img is 'yes please'; allowed: true or false"),
        ("test", "qaunt", {}, r"unknown key in the option file: 'qaunt'; .*did you mean 'quant'"),
        ("train", "train", REMOVED, r"no block 'train'; is it meant for `basicsr test"),
        ("train", "train.total_iter", -1, r"train\.total_iter is -1"),
        ("train", "datasets.train", REMOVED, r"no key 'datasets\.train'"),
        ("train", "datasets.train.batch_size_per_gpu", 0, r"batch_size_per_gpu is 0"),
        ("train", "val.val_freq", REMOVED, r"no key 'val\.val_freq'"),
        ("train", "logger.print_freq", 0, r"logger\.print_freq is 0"),
    ],
)
def test_a_missing_or_wrong_key_is_named(command: str, key: str, value: object, says: str) -> None:
    options = installed(command)
    block, names = options, key.split(".")
    for name in names[:-1]:
        block = block[name]
    if value is REMOVED:
        del block[names[-1]]
    else:
        block[names[-1]] = value
    with pytest.raises(CompSRTError, match=says):
        check_options(options, command, "a.yml")


def test_training_needs_no_validation() -> None:
    options = installed("train")
    del options["val"]
    check_options(options, "train", "a.yml")
