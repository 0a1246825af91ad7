"""`LayersEngine`: a network of any code, as a plan of compiled operators and PyTorch."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.devices import example
from compsrt_plugin.engine.describe import HINT
from compsrt_plugin.engine.engine import Engine
from compsrt_plugin.engine.following import is_copy
from compsrt_plugin.engine.inside import Inside, Part
from compsrt_plugin.engine.layer_runs import FLOATS, KEPT, PYTORCH, LayerRun
from compsrt_plugin.engine.operators import Operators
from compsrt_plugin.engine.plan import Plan
from compsrt_plugin.engine.planner import Planner, plan_of
from compsrt_plugin.engine.rules import operator_name
from compsrt_plugin.engine.tape import Tape, record
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.ops.fake_quantize import any_width
from compsrt_plugin.quant import named_quantizers, quantized_layers
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.tracing.interception import Intercepting

MOST_PLANS = 8
"""Sizes of images whose plans are kept: tiles at the edges of an image have other sizes than those within."""
STAGES = {"rows": "linear", "depthwise": "depth-wise convolution"}
"""Operator -> name of its stage, where it has another."""


def check_layers(network: nn.Module) -> None:
    """Refuse a network that has nothing to run in integers.

    Raises:
        CompSRTError: not quantized, not frozen, or published codes.
    """
    layers = dict(quantized_layers(network))
    if not layers:
        raise CompSRTError("the network is not quantized", allowed="one rebuilt from a packed file", hint=HINT)
    for name, layer in layers.items():
        if not layer.frozen:
            raise CompSRTError(f"{name} is not frozen", allowed="a network rebuilt from a packed file", hint=HINT)
    for name, quantizer in named_quantizers(network):
        if quantizer.spec.codes != "strict":
            raise CompSRTError(f"{name} has codes: paper", allowed="codes: strict in the engine", hint=HINT)


@dataclass
class Planned:
    """The plan for images of one shape, or why there is none, and the state of the parameters that it was made from."""

    plan: Plan | None
    why_not: str
    state: list[tuple[int, int]]


class LayersEngine(Engine, check=check_layers):
    """A network of any code: linear layers and attention in integers, the rest in compiled operators and PyTorch.

    Attributes:
        parts: its linear layers and attention, with the reason where PyTorch runs one.
    """

    def __init__(self, packed_network: Any, threads: int | None = None, profile: bool = False) -> None:
        network, level = self._prepare(packed_network, threads, profile)
        self._operators = Operators(level, self.threads)
        self._inside = Inside(network, self._operators)
        self._tensors = [*network.parameters(), *network.buffers()]
        self._plans: OrderedDict[tuple[int, ...], Planned] = OrderedDict()

    @property
    def parts(self) -> Sequence[Part]:
        """See the class."""
        return self._inside.parts

    def __call__(self, x: Tensor) -> Tensor:
        """See `Engine`.

        PyTorch runs its part of a plan on one thread. Its workers wait for more work by spinning, which takes a core
        from the engine's workers: on two threads DAT-light took 92 ms, and 53 like this.
        """
        place = example(self._network)
        assert place is not None
        before = torch.get_num_threads()
        with torch.inference_mode(), self._inside:
            self._operators.spent.clear()
            try:
                x = x.to(place)
                _set_threads(1)
                planned = self._planned(x)
                if planned.plan is None:
                    _set_threads(self.threads)
                start = time.perf_counter()
                y = self._network(x) if planned.plan is None else planned.plan.run(x, self._operators)
                total = time.perf_counter() - start
            finally:
                _set_threads(before)
            if self.profile:
                spent = {STAGES.get(name, name): taken * 1e3 for name, taken in self._operators.spent.items()}
                self._times = {**spent, "pytorch": total * 1e3 - sum(spent.values())}
        return y.to("cpu", torch.float32).clone(memory_format=torch.contiguous_format)  # no longer an inference tensor

    def why_not_planned(self, x: Tensor) -> str:
        """Return why images of this shape run the network's own code; empty if a plan runs them."""
        with torch.inference_mode(), self._inside:
            return self._planned(x).why_not

    def layers(self, height: int, width: int) -> list[LayerRun]:
        """See `Engine`.

        Raises:
            CompSRTError: the network's code cannot be recorded for images of this size.
        """
        place = example(self._network)
        assert place is not None
        x = place.new_zeros(1, getattr(self._network, "in_channels", 3), height, width)
        try:
            with torch.inference_mode(), self._inside:
                tape = self._recorded(x)
                planner = Planner(tape, self._operators.level)
                planner.plan()
        except Exception as error:
            found = f"the network cannot be recorded for images of {height} × {width}: {error}"
            raise CompSRTError(found, hint="its linear layers and attention still run in integers") from error
        left: dict[str, list[str]] = {}
        for step in planner.left:
            left.setdefault(step.module, []).append(operator_name(step))
        found, modules = dict(self._inside.runs()), dict(self._network.named_modules())
        for step in tape.steps:
            if step.module in left:
                names = ", ".join(dict.fromkeys(left[step.module]))
                why = found[step.module].why if step.module in found else _why_floats(modules[step.module])
                if step.module not in found or found[step.module].runs == PYTORCH:
                    found[step.module] = LayerRun(step.module, PYTORCH, f"{why}; no operator for {names}")
            elif step.module not in found and not is_copy(step):
                found[step.module] = LayerRun(step.module, FLOATS, _why_floats(modules[step.module]))
        return sorted((run for name, run in found.items() if name), key=lambda run: run.layer)

    def _planned(self, x: Tensor) -> Planned:
        """Return the plan for images of this shape."""
        shape, state = tuple(x.shape), [(x.data_ptr(), _version(x)) for x in self._tensors]
        found = self._plans.get(shape)
        if found is None or found.state != state:
            found = self._plans[shape] = Planned(*self._made(x), state)
            while len(self._plans) > MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(shape)
        return found

    def _recorded(self, x: Tensor) -> Tape:
        with any_width():  # the operators quantize rows that are too short for the simulated network's kernels
            return record(self._network, x)

    def _made(self, x: Tensor) -> tuple[Plan | None, str]:
        if x.device.type != "cpu" or x.dtype is not torch.float32:
            return None, f"it is on {x.device.type} in {x.dtype}"
        try:
            return plan_of(self._recorded(x), self._operators.level), ""
        except Exception as error:  # of the network's own code, which then runs as it is and may raise it again
            logging.getLogger(__name__).debug("no plan for %s: %s", tuple(x.shape), error)
            return None, str(error)


def _why_floats(module: nn.Module) -> str:
    """Return why what the operators for integers do not know runs in floats."""
    if isinstance(module, Intercepting):
        return "its products sum over pixels, or are not those of attention"
    if isinstance(module, QuantizedLayer):
        return "its input is not quantized"
    return KEPT


def _version(x: Tensor) -> int:
    return -1 if x.is_inference() else x._version  # of inference tensors torch counts no versions


def _set_threads(count: int) -> None:
    """Set the number of PyTorch's threads, if it differs: to set it anew costs time."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
