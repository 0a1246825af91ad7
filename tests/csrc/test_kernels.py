"""Every kernel at every level against the plain one: on this processor, and for 64-bit Arm under an emulator."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin import native
from compsrt_plugin.engine import Engine, engine
from compsrt_plugin.engine.describe import describe_network
from compsrt_plugin.engine.layers import LayersEngine
from compsrt_plugin.engine.operators import Operators
from compsrt_plugin.engine.plan import Memory, Native
from compsrt_plugin.engine.planner import plan_of
from compsrt_plugin.engine.tape import record
from compsrt_plugin.native import Level, structures
from tests.engine.attending import frozen, masked
from tests.engine.channels import HEADS, between_channels
from tests.engine.coded import Coded
from tests.engine.networks import assert_same_pixels, network

from .building import CSRC, Target, build
from .dumps import dump, dump_step

HOST = Target(platform.machine(), "g++")
ARM = Target("aarch64", "aarch64-linux-gnu-g++", ("qemu-aarch64", "-cpu", "max"), "-O1")
NEON, PLAIN = Level("neon", 32, 4, 128, False, conv_rows=12), Level("plain", 0, 0, 0, False)

Built = tuple[Target, Path, dict[str, list[Path]]]


@pytest.fixture(scope="module", params=[HOST, ARM], ids=["host", "arm"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    target: Target = request.param
    if missing := target.missing():
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp(target.machine)
    return target, folder, build(target, folder)


def test_every_kernel_agrees_with_the_plain_level(built: Built) -> None:
    target, folder, _ = built
    printed = target.run(folder / "kernels")
    levels = [level.name for level in native.levels()] if target is HOST else list(CSRC.LEVELS[target.machine])
    assert printed.split() == [word for name in levels for word in ("checked", name)]


def test_no_function_that_files_share_is_compiled_for_a_level(built: Built) -> None:
    """The linker keeps one copy of an inline function; one with AVX-512 in it would stop other processors."""
    _, _, of_level = built
    if shutil.which("nm") is None:
        pytest.skip("not installed: nm")
    for level, objects in of_level.items():
        listed = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout
        shared = [line for line in listed.splitlines() if line[17:19] in ("W ", "u ")]
        assert not shared, (level, shared)


@pytest.mark.parametrize(
    ("level", "options"),
    [
        (NEON, {"bits": 3}),
        (NEON, {"bits": 4, "recipe": "plus"}),
        (NEON, {"bits": 4, "activation": {"granularity": "per_token"}}),
        (NEON, {"bits": 4, "recipe": "plus", "overrides": {"*.input": {"bits": 8}, "*.q": {"bits": 8}}}),
        (NEON, {"bits": 8}),  # centred codes of keys do not fit a byte
        (PLAIN, {"bits": 3}),
    ],
    ids=["3 bits", "plus", "per token", "8-bit inputs", "8 bits", "plain"],
)
def test_a_network_on_arm_has_the_pixels_of_the_simulated_one(
    built: Built, level: Level, options: dict[str, Any], tmp_path: Path
) -> None:
    target, folder, _ = built
    if target is HOST:
        pytest.skip("this processor has no NEON; its engine is tested in tests/engine")
    made = network(**options)
    described = describe_network(made, level)
    if level is NEON and options["bits"] < 8:
        block = structures.Block.from_address(structures.Group.from_address(described.group).block)
        assert block.fc1.integer and block.attention.integer_scores and block.attention.integer_map
    (tmp_path / "network").write_bytes(dump(described))

    def run(x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        x.contiguous().numpy().tofile(tmp_path / "image")
        target.run(
            folder / "kernels", "network", level.name, tmp_path / "network", tmp_path / "image", tmp_path / "out", h, w
        )
        scale = described.scale
        values = np.fromfile(tmp_path / "out", np.float32)
        return torch.from_numpy(values).view(1, described.out_channels, h * scale, w * scale)

    assert_same_pixels(run, made)


class OnArm:
    """Runs compiled steps on the emulated processor, each in a process of its own.

    Attributes:
        ran: names of operators that ran.
    """

    def __init__(self, built: Built, folder: Path) -> None:
        self.target, self.program, self.folder = built[0], built[1] / "kernels", folder
        self.ran: set[str] = set()

    def run(self, step: Native, memory: Memory, _: Operators) -> None:
        if memory[step.output.number] is None:
            memory[step.output.number] = torch.zeros(step.output.size, dtype=step.output.dtype)
        (self.folder / "step").write_bytes(dump_step(step, memory))
        files = self.folder / "step", self.folder / "out"
        self.target.run(self.program, "operator", NEON.name, *files, step.name)
        memory[step.output.number].copy_(torch.from_numpy(np.fromfile(files[1], np.float32)))
        self.ran.add(step.name)


def test_the_steps_of_plans_on_arm(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operator, and so every kernel that only plans use."""
    if built[0] is HOST:
        pytest.skip("this processor has no NEON; its plans are tested in tests/engine")
    arm = OnArm(built, tmp_path)
    monkeypatch.setattr(engine, "level", lambda: NEON)
    monkeypatch.setattr(Native, "run", lambda step, memory, operators: arm.run(step, memory, operators))
    made = frozen(masked)
    planned = Engine(made, threads=1)
    assert isinstance(planned, LayersEngine) and not planned.why_not_planned(torch.zeros(1, 3, 16, 16))
    assert_same_pixels(planned, made, (1, 3, 16, 16))

    torch.manual_seed(0)
    depthwise, conv = nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 24, 3, padding=1)
    channels = between_channels(4, "hadamard_signed", "hadamard")

    def code(x: Tensor) -> Tensor:
        y = F.gelu(conv(F.silu(depthwise(x)))).permute(0, 2, 3, 1)
        return (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()

    for network_code, x in ((code, torch.randn(1, 24, 8, 20)), (channels, torch.randn(1, 30 * HEADS, 6, 14))):
        with torch.inference_mode():
            wanted = network_code(x)
            found = plan_of(record(Coded(network_code), torch.zeros_like(x)), NEON).run(x, Operators(NEON, 1))
        assert ((found - wanted).abs() > 1e-4).float().mean() < 0.02  # codes at a rounding boundary, of one pixel each
    operators = {"attention", "rows", "moments", "reduction", "gram", "mix", "depthwise", "convolution", "elementwise"}
    assert arm.ran == operators
