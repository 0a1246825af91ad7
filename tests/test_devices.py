"""No tensor is made where torch's defaults say: each has the device and dtype of what it belongs to.

Constructors of networks are another matter: a network is built where torch says, as torch's own layers are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import compsrt_plugin
from compsrt_plugin.devices import example

PACKAGE = Path(compsrt_plugin.__file__).parent
PLACES = (PACKAGE, PACKAGE.parent / "archs")

# Factories that ask torch for its default device, and those whose dtype would be the default one too.
FLOATING = {"zeros", "ones", "empty", "full", "eye", "linspace", "logspace", "rand", "randn", "normal", "tensor",
            "as_tensor", "asarray", "scalar_tensor", "empty_strided"}  # fmt: skip
WHOLE = {"arange", "randint", "randperm", "range", "tril_indices", "triu_indices", "cartesian_prod"}
WINDOWS = {"hann_window", "hamming_window", "bartlett_window", "blackman_window", "kaiser_window"}


def sources() -> Iterator[Path]:
    for place in PLACES:
        yield from sorted(place.rglob("*.py"))


def careless(source: str) -> list[str]:
    """Return the calls of factories in a source text that leave device or dtype to torch."""
    return [f"line {call.lineno}: {ast.unparse(call)}" for call in careless_calls(ast.parse(source))]


def constructors(source: str) -> list[str]:
    """Return those of the calls that stand in constructors."""
    made = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return [f"line {call.lineno}: {ast.unparse(call)}" for node in made for call in careless_calls(node)]


def careless_calls(tree: ast.AST) -> Iterator[ast.Call]:
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        owner, name = call.func.value, call.func.attr
        given = {keyword.arg for keyword in call.keywords}
        if isinstance(owner, ast.Name) and owner.id == "torch" and name in FLOATING | WHOLE | WINDOWS:
            if "device" not in given or ("dtype" not in given and name not in WHOLE):
                yield call
        # These take the device of what they are called on, unless another is named; `torch.Generator` has one too.
        elif isinstance(owner, ast.Name) and owner.id == "torch" and name == "Generator" and not call.args:
            yield call


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_every_factory_call_names_device_and_dtype(path: Path):
    source = path.read_text(encoding="utf-8")
    allowed = constructors(source) if "archs" in path.parts else []
    assert [call for call in careless(source) if call not in allowed] == []


@pytest.mark.parametrize(
    "text",
    ["torch.zeros(3)", "torch.zeros(3, device=x.device)", "torch.arange(3)", "torch.tensor(1.0, dtype=torch.float64)",
     "torch.rand(2, generator=torch.Generator(), device='cpu', dtype=d)"],
)  # fmt: skip
def test_a_careless_call_is_found(text: str):
    assert careless(text)


def test_an_example_is_a_floating_parameter_else_a_floating_buffer():
    network = nn.Module()
    network.register_buffer("index", torch.zeros(2, dtype=torch.int64))
    assert example(network) is None and example(lambda x: x) is None
    network.register_buffer("mean", torch.zeros(3, dtype=torch.float64))
    assert example(network) is network.mean
    network.weight = nn.Parameter(torch.zeros(1))
    assert example(network) is network.weight
