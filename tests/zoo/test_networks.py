"""Networks that this project has never seen: quantized, distilled, packed and read again without a line of code."""

from __future__ import annotations

import copy
import functools
import logging
import tempfile
from pathlib import Path

import pytest
import torch
from basicsr.utils import get_root_logger
from foreign_networks import BASICSR, SPANDREL, block_for

import compsrt_plugin  # noqa: F401  (repairs what BasicSR's import needs)
from compsrt_plugin.analysis.sizes import count_products
from compsrt_plugin.archs import compsrt_net_arch
from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.config.quant_options import resolve, resolve_distill
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.network_state import round_unquantized, save_network
from compsrt_plugin.packed.open import open_packed
from compsrt_plugin.quant import (
    Discovery,
    NetworkSpec,
    calibrate,
    discover,
    distinct_codes,
    named_quantizers,
    quantized_layers,
)
from compsrt_plugin.training.trainer import Trainer

NAMES = [*SPANDREL, *BASICSR]
WITHOUT_ATTENTION = ("EDSR", "RCAN", "ReadsWeights")
PICTURE = torch.rand(1, 3, 17, 11, generator=torch.Generator().manual_seed(1))


@functools.cache
def _wrapped(name: str) -> CompSRTNet:
    with tempfile.TemporaryDirectory() as folder:  # what is packed later needs no weight file
        block = block_for(name, Path(folder))
        torch.manual_seed(0)
        return CompSRTNet(base=block["base"]).eval()


def wrapped(name: str) -> CompSRTNet:
    """Return a network that is not quantized, a new one each time; its sizes are found out once."""
    return copy.deepcopy(_wrapped(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_quantized_distilled_packed_and_read_again(name: str, tmp_path: Path):
    teacher = wrapped(name)
    with torch.no_grad():
        expected = teacher(PICTURE)
    assert expected.shape == (1, 3, 68, 44)

    student = wrapped(name)
    options = resolve({"recipe": "plus", "bits": 4})
    student.quantize(options.spec)
    with torch.no_grad():
        assert torch.equal(student(PICTURE), expected), "quantizers that are off change nothing"

    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    calibrate(student, [pictures])
    training = Trainer(student, teacher, resolve_distill("plus", None), 0.0)
    optimizer = torch.optim.Adam(training.parameters.groups(1e-3))
    losses = [training.step(optimizer, pictures, None)["total"] for _ in range(5)]
    assert all(loss > 0 for loss in losses)
    round_unquantized(student)
    counts = distinct_codes(student, [PICTURE])
    widths = {quantizer: q.spec.bits for quantizer, q in named_quantizers(student)}
    assert counts.keys() == widths.keys()
    assert all(1 <= counts[quantizer] <= 2 ** widths[quantizer] for quantizer in counts)

    with torch.no_grad():
        before = student(PICTURE)
    path = tmp_path / "packed.safetensors"
    provenance = {"bits": 4, "recipe": "plus", "weights_trained": True}
    arch = {"type": "CompSRTNet", **teacher.arch}
    size = save_network(path, student, {"arch": arch, "spec": options.spec.to_dict(), "provenance": provenance})
    assert size < 0.5 * 4 * sum(p.numel() for p in teacher.parameters())
    again = open_packed(path)
    with torch.no_grad():
        assert torch.equal(again.network(PICTURE), before)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_ATTENTION])
def test_both_operands_of_most_products_are_quantized(name: str):
    network = wrapped(name)
    network.quantize(resolve({"recipe": "compsrt", "bits": 4}).spec)
    products = count_products(network, 32, 32)
    both = sum(product.macs for product in products if max(product.bits) == 4)
    convolutions = sum(product.macs for product in products if product.bits == (8, 32))
    neither = sum(product.macs for product in products if product.bits == (32, 32))
    assert neither < 0.2 * (both + neither + convolutions)
    assert not any(product.name.endswith(".linear") for product in products), "a weight that code reads is quantized"
    assert any(product.name.endswith("qk") and product.bits == (4, 4) for product in products)
    assert any(product.name.endswith("mapv") and product.bits == (4, 4) for product in products)


@pytest.mark.parametrize("name", ["EDSR", "RCAN"])
def test_of_a_network_of_convolutions_the_log_says_so(name: str):
    network = wrapped(name)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = get_root_logger()
    logger.addHandler(handler)
    try:
        network.quantize(resolve({"recipe": "plus", "bits": 4}).spec)
    finally:
        logger.removeHandler(handler)
    count = sum(1 for _ in quantized_layers(network))
    assert said[0] == (
        f"{name} has nothing to quantize but {count} convolutions: weights at 8 bits (quant.conv_bits), inputs in full "
        "precision"
    )
    assert {q.spec.bits for _, q in named_quantizers(network)} == {8}
    if name == "RCAN":
        assert set(network.kept.values()) == {"one vector per image (channel attention)"}
        assert len(network.kept) == 4


def test_a_network_of_convolutions_without_conv_bits_is_told_of_them():
    network = wrapped("EDSR")
    with pytest.raises(CompSRTError, match="has no layer that the rules quantize; conv_bits: 8 quantizes convolutions"):
        network.quantize(NetworkSpec(conv_bits=None))


def test_networks_of_one_class_and_the_same_arguments_are_probed_once(monkeypatch: pytest.MonkeyPatch):
    probed: list[str] = []

    def probe(network: CompSRTNet, pictures: list[torch.Tensor]) -> Discovery:
        probed.append(f"{network.arch['base']['num_block']}")
        return discover(network, pictures)

    monkeypatch.setattr(compsrt_net_arch, "discover", probe)
    for blocks in (3, 3, 4, 3):
        base = {"type": "EDSR", **BASICSR["EDSR"], "num_block": blocks}
        network = CompSRTNet(base=base, upscale=4, size={"multiple_of": 1}).eval()
        network.quantize(NetworkSpec())
        assert sum(1 for _ in quantized_layers(network)) == 2 * blocks + 5
    assert probed == ["3", "4"]
