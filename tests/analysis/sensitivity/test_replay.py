"""Blocks that ran before a change give their recorded output again, and the network's output is the same."""

from __future__ import annotations

import torch
from small_networks import small_network
from torch import Tensor, nn

from compsrt_plugin.analysis.sensitivity import measure_errors
from compsrt_plugin.analysis.sensitivity.replay import Replay
from compsrt_plugin.quant import Mode, activation_quantizers


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.calls = nn.Linear(4, 4), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.fc(x)


class Net(nn.Module):
    """Runs its blocks in the order given, and changes what they return in place."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order, self.blocks = order, nn.ModuleList([Block() for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        for number in self.order:
            x = self.blocks[number](x).add_(1)
        return x


def calls_after_recording(order: list[int], place: str) -> list[int]:
    net, x = Net(order).eval(), torch.randn(2, 4)
    replay = Replay(net)
    with torch.no_grad():
        with replay.recording():
            wanted = net(x)
        for block in net.blocks:
            block.calls = 0
        with replay.up_to(place):
            for _ in range(2):
                assert torch.equal(net(x), wanted)
        found = [block.calls for block in net.blocks]
        assert torch.equal(net(x), wanted)
    assert [block.calls for block in net.blocks] == [n + order.count(i) for i, n in enumerate(found)]
    return found


def test_blocks_before_the_place_are_not_computed() -> None:
    assert calls_after_recording([0, 1, 2], "blocks.1.fc.input_quantizer") == [0, 2, 2]
    assert calls_after_recording([0, 1, 2], "blocks.2.fc") == [0, 0, 2]


def test_before_means_in_the_order_in_which_they_ran() -> None:
    assert calls_after_recording([2, 0, 1], "blocks.0.fc") == [2, 2, 0]


def test_a_block_that_runs_twice_is_always_computed() -> None:
    assert calls_after_recording([0, 0, 1, 2], "blocks.2.fc") == [4, 0, 2]


def test_at_a_place_outside_all_blocks_everything_is_computed() -> None:
    assert calls_after_recording([0, 1, 2], "last") == [2, 2, 2]


def test_a_networks_errors_are_those_of_whole_runs() -> None:
    network, x = small_network(), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = measure_errors(network, x, "noise")
    quantizers = activation_quantizers(network)

    def output(on: str) -> Tensor:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.ON if name == on else Mode.OFF
        with torch.no_grad():
            return network(x).double()

    exact = output("")
    for one in found.activations:
        assert one.error == float((output(one.name).float() - exact.float()).double().square().mean())
