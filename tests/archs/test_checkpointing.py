"""`use_checkpoint` saves memory in training and changes no value, gradient or key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from basicsr.archs.swinir_arch import SwinIR
from torch import Tensor, nn

import compsrt_plugin  # noqa: F401  (repairs BasicSR)
from compsrt_plugin.archs.compsrt_net_arch import CompSRTNet
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.quant import NetworkSpec, QuantSpec, calibrate

SMALL: dict[str, Any] = {**CompSRTSwinIR.LIGHT, "depths": (2,), "num_heads": (6,), "img_size": 16, "upscale": 4}
SPEC = NetworkSpec(QuantSpec(4), QuantSpec(4))
PICTURE = torch.rand(2, 3, 16, 8, generator=torch.Generator().manual_seed(0))


def foreign(use_checkpoint: bool) -> nn.Module:
    base = {"type": "SwinIR", **SMALL, "use_checkpoint": use_checkpoint}
    return CompSRTNet(base=base, quant=SPEC, upscale=4, size={"multiple_of": 8, "minimum": 8})


NETWORKS: dict[str, Callable[[bool], nn.Module]] = {
    "SwinIR": lambda use_checkpoint: SwinIR(**SMALL, use_checkpoint=use_checkpoint),
    "CompSRTSwinIR": lambda use_checkpoint: CompSRTSwinIR(**SMALL, use_checkpoint=use_checkpoint, quant=SPEC),
    "CompSRTNet": foreign,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpointing_changes_nothing(name: str):
    found: list[tuple[Tensor, dict[str, Tensor | None]]] = []
    saved: list[int] = []
    for use_checkpoint in (False, True):
        torch.manual_seed(0)
        network = NETWORKS[name](use_checkpoint).eval()
        if name != "SwinIR":
            calibrate(network, [PICTURE])
        kept = [0]

        def keep(x: Tensor, kept: list[int] = kept) -> Tensor:
            kept[0] += x.nbytes
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            output = network(PICTURE)
        saved.append(kept[0])
        output.square().mean().backward()
        found.append((output.detach(), {name: p.grad for name, p in network.named_parameters()}))
    (output, grads), (again, same) = found
    assert torch.equal(output, again) and grads.keys() == same.keys()
    assert sum(grad is not None for grad in grads.values()) > 20
    for name, grad in grads.items():
        assert (grad is None) == (same[name] is None) and (grad is None or torch.equal(grad, same[name])), name
    assert saved[1] < saved[0] / 2
