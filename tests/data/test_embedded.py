from __future__ import annotations

import socket
from typing import get_args

import numpy as np
import pytest

from compsrt_plugin.config.data_set_blocks import Embedded
from compsrt_plugin.data import embedded
from compsrt_plugin.data.images import image_size, read_image
from compsrt_plugin.errors import CompSRTError


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_demo_is_four_whole_photographs_that_fit_the_scale(cache, scale):
    hr_dir, lr_dir = embedded.embedded_pairs("demo", scale)
    assert sorted(p.stem for p in hr_dir.iterdir()) == ["astronaut", "chelsea", "coffee", "rocket"]
    for hr in hr_dir.iterdir():
        lr_size = image_size(lr_dir / f"{hr.stem}x{scale}.png")
        assert image_size(hr) == tuple(scale * side for side in lr_size)
    assert image_size(hr_dir / "coffee.png") == (400 - 400 % scale, 600)


def test_calibration_pictures_are_others_and_of_bounded_size(cache):
    hr_dir, lr_dir = embedded.embedded_pairs("calibration", 4)
    names = {p.stem for p in hr_dir.iterdir()}
    assert len(names) == len(list(lr_dir.iterdir())) == 7
    assert not names & {"astronaut", "chelsea", "coffee", "rocket"}
    sizes = {p.stem: image_size(p) for p in hr_dir.iterdir()}
    assert sizes["retina"] == sizes["hubble_deep_field"] == (768, 768)
    assert sizes["motorcycle_left"] == (500, 740)


def test_the_cut_retina_has_no_black_surround(cache):
    hr_dir, _ = embedded.embedded_pairs("calibration", 4)
    corners = read_image(hr_dir / "retina.png")[::764, ::764]
    assert corners.max(axis=2).min() > 100


def test_the_right_part_of_each_coloured_calibration_picture_is_held_out(cache):
    whole, train, held_out = (
        {p.stem: read_image(p) for p in sorted(embedded.embedded_pairs("calibration", 4, subset)[0].iterdir())}
        for subset in (None, "train", "holdout")
    )
    assert sorted(held_out) == ["hubble_deep_field", "ihc", "motorcycle_left", "retina"]
    assert train.keys() == whole.keys()
    for name, picture in held_out.items():
        rows = picture.shape[0]
        width = train[name].shape[1]  # cut to a multiple of 4
        cut = {"motorcycle_left": 741 - 240}.get(name, whole[name].shape[1] - 240)
        assert np.array_equal(train[name], whole[name][:rows, :width]) and width <= cut
        assert np.array_equal(picture[:, :236], whole[name][:rows, cut : cut + 236])
        assert (picture.max(axis=2) > picture.min(axis=2)).mean() > 0.5, "coloured"


def test_an_unknown_part_is_refused(cache):
    with pytest.raises(CompSRTError, match="unknown subset: 'test'; allowed: holdout, train"):
        embedded.embedded_pairs("calibration", 4, "test")


def test_another_name_is_refused(cache):
    with pytest.raises(CompSRTError, match="unknown embedded set 'demos'; allowed: calibration, demo"):
        embedded.embedded_pairs("demos", 4)


def test_a_wheel_without_a_picture_is_named(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_scikit_image", lambda: tmp_path)
    with pytest.raises(CompSRTError, match=r"astronaut\.png is missing; pip install"):
        embedded.embedded_pairs("demo", 4)


def test_a_missing_scikit_image_is_named(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CompSRTError, match="scikit-image is not installed"):
        embedded.embedded_pairs("demo", 4)


def test_an_option_file_may_name_each_set():
    assert set(get_args(Embedded)) == set(embedded.EMBEDDED_IMAGES) == set(embedded.MAX_SIDE)
