"""A packed file says with which options it was made, and nothing about the machine."""

from __future__ import annotations

from pathlib import Path

import yaml

from compsrt_plugin.training.option_text import option_text


def test_what_basicsr_adds_and_folders_outside_are_left_out(tmp_path: Path):
    data = {"name": "Mine", "dataroot_gt": str(tmp_path / "HR"), "phase": "train", "scale": 4}
    opt = {
        "name": "mine",
        "scale": 4,
        "is_train": True,
        "world_size": 1,
        "root_path": str(tmp_path),
        "path": {"pretrain_network_g": tmp_path / "teacher.pth", "models": str(tmp_path), "strict_load_g": True},
        "datasets": {"train": data},
        "train": {"optim_g": {"betas": (0.9, 0.99)}},
    }
    text = option_text(opt)
    assert str(tmp_path.parent) not in text
    assert yaml.safe_load(text) == {
        "name": "mine",
        "scale": 4,
        "path": {"pretrain_network_g": "teacher.pth", "strict_load_g": True},
        "datasets": {"train": {"name": "Mine", "dataroot_gt": "HR"}},
        "train": {"optim_g": {"betas": [0.9, 0.99]}},
    }
