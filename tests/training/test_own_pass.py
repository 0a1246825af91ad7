"""A calibration pass registered from outside works everywhere: option file, log, calibration, packed file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import torch
from msgspec import Meta

from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.quant.passes import PASSES, Calibration, Pass, Stage, register_pass

from . import tiny_run
from .running import packed, train

NAME = "conv_first.bias"


@pytest.fixture
def toy() -> Iterator[None]:
    """Register the pass `offset`, which adds its value to a bias before bounds are searched."""

    def add(calibration: Calibration, offset: float) -> None:
        with torch.no_grad():
            calibration.network.get_parameter(NAME).add_(offset)
        calibration.log(f"Toy: {offset}")

    value = Annotated[float, Meta(ge=0)]
    register_pass(Pass("offset", "add to a bias.", value, off=0.0, stage=Stage.WEIGHTS, run=add, changes_weights=True))
    yield
    del PASSES["offset"]


@pytest.mark.usefixtures("toy")
def test_it_goes_from_option_file_to_calibration_and_packed_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder, train__total_iter=0, quant__offset=0.5) == 0
    assert "Toy: 0.5" in capsys.readouterr().err
    made = read_packed(packed(folder))
    assert made.header["provenance"]["offset"] == 0.5 and made.header["provenance"]["weights_trained"] is True
    before = tiny_run.plain_teacher().get_parameter(NAME)
    assert torch.allclose(made.state[NAME].float(), before + 0.5, atol=1e-3)


@pytest.mark.usefixtures("toy")
def test_without_the_key_it_is_skipped() -> None:
    assert "offset" not in {step.name for step in resolve({}).active}
    assert resolve({}).to_dict()["offset"] == 0.0
    assert [step.name for step in resolve({"recipe": "compsrt", "offset": 1}).active] == ["offset"]


@pytest.mark.usefixtures("toy")
def test_its_value_is_checked_as_every_other_key() -> None:
    with pytest.raises(CompSRTError, match=r"quant\.offset is -1; allowed: numbers from 0, or recipe"):
        resolve({"offset": -1})
    with pytest.raises(CompSRTError, match="did you mean 'offset'"):
        resolve({"ofset": 1})


def test_an_unregistered_name_is_an_unknown_key() -> None:
    with pytest.raises(CompSRTError, match="unknown key in quant: 'offset'"):
        resolve({"offset": 1})


def test_a_name_is_registered_once() -> None:
    before = dict(PASSES)
    with pytest.raises(ValueError, match="'guard' is registered already"):
        register_pass(PASSES["guard"])
    assert before == PASSES


def test_passes_run_in_the_order_of_the_guide() -> None:
    assert list(PASSES) == ["conditioning", "equalization", "guard", "rounding", "bias_correction"]
