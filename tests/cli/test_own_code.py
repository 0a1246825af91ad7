"""`--code FILE.py` runs a user's own code of every kind, each file once, and nothing of it outlives the command."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pages
import pytest
import torch
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)
from places import Place

from compsrt_plugin.cli.main import main
from compsrt_plugin.cli.own_code import own_code
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed import read_packed
from compsrt_plugin.pruning import PRUNING_REGISTRY
from compsrt_plugin.quant import BOUND_SEARCHES
from compsrt_plugin.quant.convert import ADAPTERS

NETWORK = "from torch import nn\n\n\nclass OwnNet(nn.Module):\n    pass\n"
REGISTERING = {
    "data set": (DATASET_REGISTRY, "DATASET_REGISTRY", "class OwnSet:\n    pass\n", "OwnSet"),
    "loss": (LOSS_REGISTRY, "LOSS_REGISTRY", "class OwnLoss(nn.Module):\n    pass\n", "OwnLoss"),
    "metric": (METRIC_REGISTRY, "METRIC_REGISTRY", "def own_metric(img, img2):\n    return 0.0\n", "own_metric"),
    "model": (MODEL_REGISTRY, "MODEL_REGISTRY", "class OwnModel:\n    pass\n", "OwnModel"),
    "arch": (ARCH_REGISTRY, "ARCH_REGISTRY", "class OwnArch(nn.Module):\n    pass\n", "OwnArch"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize("kind", REGISTERING)
def test_what_a_file_registers_is_known_during_the_command_and_gone_after(kind: str):
    registry, constant, code, name = REGISTERING[kind]
    text = f"from basicsr.utils.registry import {constant}\nfrom torch import nn\n\n\n@{constant}.register()\n{code}"
    for _ in range(2):  # the same file again
        with own_code([write("own_one.py", text)]):
            assert name in registry and "own_one" in sys.modules
            assert kind == "arch" or name not in ARCH_REGISTRY
        assert name not in registry and "own_one" not in sys.modules


def test_a_bound_search_of_ones_own_is_known():
    text = (
        "from compsrt_plugin.quant.bounds.search import register_bound_search\n\n\n"
        "@register_bound_search('own')\ndef own(x, bits):\n    return x.min(), x.max()\n"
    )
    with own_code([write("own_search.py", text)]):
        assert "own" in BOUND_SEARCHES
    assert "own" not in BOUND_SEARCHES


def test_the_hook_of_the_pruning_page_prunes_as_the_page_says(place: Place):
    page = pages.read("docs/pruning.md")
    hook = next(block for block in pages.blocks(page, "python") if "def first_rows" in block)
    flags = re.search(r"basicsr train -opt \S+ (--code my_hook\.py --force_yml .*)", page)
    assert flags is not None
    write("my_hook.py", hook)
    place.train["train"]["total_iter"] = 0
    place.train["quant"]["recipe"] = "minmax"
    assert place.run("train", *flags[1].split()) == 0
    state = read_packed("experiments/run/models/run.safetensors").state
    masks = [tensor for name, tensor in state.items() if name.endswith("fc1.weight_mask")]
    first = round(0.4 * len(masks[0]))
    assert masks and not any(mask[:first].any() or not mask[first:].all() for mask in masks)
    assert "first_rows" not in PRUNING_REGISTRY


def test_a_second_file_meets_the_very_classes_of_the_first():
    write("net/own_net.py", NETWORK)
    text = (
        "from own_net import OwnNet\nfrom compsrt_plugin.quant import register_adapter\n\n\n"
        "@register_adapter(OwnNet)\ndef adapt(module, name, spec):\n    return None\n"
    )
    for files in (["net/own_net.py", "adapter.py"], ["adapter.py", "net/own_net.py"]):  # in either order
        write("adapter.py", text)
        with own_code(files):
            assert ARCH_REGISTRY.get("OwnNet") in ADAPTERS
    assert not any(module_class.__name__ == "OwnNet" for module_class in ADAPTERS)


def test_a_file_in_a_package_imports_its_neighbours_by_either_name():
    write("package/__init__.py", "")
    write("package/parts.py", "from torch import nn\n\n\nclass Part(nn.Module):\n    pass\n")
    text = "from torch import nn\nfrom .parts import Part\nfrom package.parts import Part as Same\n\n\n"
    write("package/net.py", text + "class PackageNet(nn.Module):\n    alike = Part is Same\n")
    with own_code(["package/net.py"]):
        network = ARCH_REGISTRY.get("PackageNet")
        assert network.alike and network.__module__ == "package.net"
        assert "Part" not in ARCH_REGISTRY
    assert not any(name.split(".")[0] == "package" for name in sys.modules)


def test_a_file_that_is_imported_under_a_second_name_is_refused(monkeypatch: pytest.MonkeyPatch):
    write("package/__init__.py", "")
    write("package/own_net.py", NETWORK)
    write("adapter.py", "from own_net import OwnNet\n\n\nclass Adapter(OwnNet):\n    pass\n")
    monkeypatch.syspath_prepend("package")
    with (
        pytest.raises(CompSRTError, match=r"own_net\.py is imported as own_net too; import it as package\.own_net"),
        own_code(["package/own_net.py", "adapter.py"]),
    ):
        pass
    sys.modules.pop("own_net", None)


def test_a_file_outside_a_package_imports_its_neighbour():
    write("side/helper_of_own_net.py", "WIDTH = 3\n")
    write("side/own_net.py", "from helper_of_own_net import WIDTH\n" + NETWORK)
    before = list(sys.path)
    with own_code(["side/own_net.py"]):
        assert "OwnNet" in ARCH_REGISTRY
    assert sys.path == before and "helper_of_own_net" not in sys.modules


def test_a_file_that_was_changed_is_run_anew():
    for width in (1, 2):
        with own_code([write("own_net.py", NETWORK.replace("pass", f"width = {width}" + " " * width))]):
            assert ARCH_REGISTRY.get("OwnNet").width == width


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "own.py",
            "x = 1\n",
            "defines no torch.nn.Module and registers no hook, adapter, .*; decorate its functions or classes",
        ),
        ("own.py", "import sys\nsys.exit(3)\n", "fails when it runs: SystemExit: 3"),
        ("own.py", "def broken(:\n", "fails when it runs: SyntaxError"),
        ("own.py", "raise ValueError('one\\ntwo')\n", "fails when it runs: ValueError: one$"),
        ("json.py", NETWORK, r"would be the module json, a name that is taken by .*json.*; give the file another name"),
        ("own.txt", NETWORK, "is not a Python file; .*its name must end in .py"),
        ("own.v2.py", NETWORK, "give the file another name|fails when it runs"),
        ("own.py", NETWORK.replace("OwnNet", "EDSR"), "the name EDSR is taken; give the class another name"),
    ],
    ids=["nothing", "exit", "syntax", "two lines", "module", "ending", "dots", "class"],
)
def test_a_file_that_cannot_be_used_is_one_line(name: str, text: str, says: str):
    with pytest.raises(CompSRTError, match=says) as caught, own_code([write(name, text)]):
        pass
    assert str(caught.value).startswith(f"--code {Path(name).resolve()}") or str(caught.value).startswith(
        f"--code {name}"
    )


@pytest.mark.parametrize("flag", ["--code", "--arch"])
def test_both_names_of_the_flag_are_known(flag: str, capsys: pytest.CaptureFixture[str]):
    assert main(["report", "any.safetensors", flag, write("own.py", "x = 1\n")]) == 2
    assert "registers no hook" in capsys.readouterr().err


FORGOTTEN = {
    "arch": ("network_g={type: CompSRTNet, base: {type: MyNet}}", "unknown type in network_g.base: 'MyNet'"),
    "hook": ("prune={hook: first_rows, ratio: 0.4}", "prune.hook: 'first_rows'"),
    "data set": ("datasets:train:type=MySet", "datasets.train.type: 'MySet'"),
    "model": ("model_type=MyModel", "model_type: 'MyModel'"),
}


@pytest.mark.parametrize("kind", FORGOTTEN)
def test_where_the_flag_was_forgotten_it_is_what_the_hint_says(
    kind: str, place: Place, capsys: pytest.CaptureFixture[str]
):
    forced, says = FORGOTTEN[kind]
    assert place.run("train", "--force_yml", forced) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert says in error and "name its file: --code FILE.py" in error and "did you mean" not in error


def test_a_network_of_ones_own_is_to_be_wrapped(place: Place, capsys: pytest.CaptureFixture[str]):
    write("own.py", NETWORK)
    assert place.run("train", "--code", "own.py", "--force_yml", "network_g={type: OwnNet}") == 2
    assert "wrap it: network_g: {type: CompSRTNet, base: {type: OwnNet, …}}" in capsys.readouterr().err


def test_torch_is_not_touched():
    with own_code([write("own_net.py", NETWORK)]):
        pass
    assert sys.modules["torch"] is torch
