"""`quant.guard`: activations that make too much of the output's error get more bits, and every file says so."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from compsrt_plugin.config.quant_options import resolve
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import activation_quantizers, distinct_codes

from . import tiny_run
from .running import disturbed, packed, sha256, train

GUARD = {"times_mean": 1.5, "bits": 6}
ALONE = {"train__total_iter": 0, "quant__guard": GUARD}


def raised_in(folder: Path) -> dict[str, int]:
    return read_packed(packed(folder)).header["spec"]["raised"]


def test_what_stands_out_has_more_bits_in_file_log_and_table(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert train(folder, **ALONE) == 0
    raised, said = raised_in(folder), capsys.readouterr()
    assert raised and set(raised.values()) <= {4, 6}
    for name in raised:
        assert f"Guard: {name} causes" in said.err
    assert f"Guard: {len(raised)} of 20 activations get more bits" in said.err
    network = open_packed(packed(folder)).network
    found = {name: quantizer.spec.bits for name, quantizer in activation_quantizers(network).items()}
    assert {name: bits for name, bits in found.items() if bits != 2} == raised
    results = json.loads((folder / "experiments" / "tiny" / "results.json").read_text())
    assert raised.items() <= results["other_bits"].items()


def test_an_activation_with_more_bits_uses_more_codes_and_no_others_do(folder: Path):
    assert train(folder, **ALONE) == 0
    raised, network = raised_in(folder), open_packed(packed(folder)).network
    generator = torch.Generator().manual_seed(0)
    counts = distinct_codes(network, [torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2)])
    for name, quantizer in activation_quantizers(network).items():
        assert counts[name] <= 2**quantizer.spec.bits
    assert max(counts[name] for name in raised) > 4


def test_it_comes_nearer_to_full_precision_at_no_byte_that_counts(folder: Path):
    sizes, distances, x = [], [], torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for guard in (None, GUARD):
        changes = {"quant__guard": guard, "quant__weight": {"bits": 8}, "quant__conv_bits": None}
        assert train(folder, **{**ALONE, **changes}) == 0
        with torch.no_grad():
            distances.append(float((open_packed(packed(folder)).network(x) - tiny_run.plain_teacher()(x)).norm()))
        sizes.append(packed(folder).stat().st_size)
    assert distances[1] < 0.8 * distances[0]
    assert sizes[1] < 1.02 * sizes[0]


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(folder: Path):
    changes = {"train__total_iter": 3, "quant__guard": GUARD}
    assert train(folder, **changes) == 0
    wanted, raised = sha256(packed(folder)), raised_in(folder)
    assert raised
    with disturbed(2, signal.SIGTERM):
        train(folder, **changes)
    assert train(folder, "--auto_resume", **changes) == 0
    assert raised_in(folder) == raised
    assert sha256(packed(folder)) == wanted


@pytest.mark.parametrize(
    ("guard", "says"),
    [
        ({"times_mean": 0.5}, "quant.guard.times_mean"),
        ({"bits": 9}, "quant.guard.bits"),
        ({"times": 2}, "times_mean"),
        (True, "guard"),
    ],
)
def test_a_wrong_value_is_one_line(guard: object, says: str):
    with pytest.raises(CompSRTError, match=says):
        resolve({"guard": guard})


def test_plus_has_it_and_it_can_be_switched_off():
    assert resolve({"recipe": "plus"}).passes["guard"] is not None
    assert resolve({"recipe": "plus", "guard": None}).passes["guard"] is None
    assert resolve({"recipe": "compsrt"}).passes["guard"] is None
    assert resolve({"recipe": "compsrt", "guard": {"times_mean": 3}}).passes["guard"].times_mean == 3  # pyright: ignore
