"""What `import basicsr` needs of torchvision is there, in whichever order a script's imports stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENTRY_POINT = re.search(r'"torch\.backends": \[f"(.+?)"\]', (ROOT / "setup.py").read_text(encoding="utf-8"))
ASKS_FOR_ITS_OPERATORS = """\
import torch
torch._C._dispatch_has_kernel_for_dispatch_key("torchvision::nms", "Meta")
loaded = True
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for the path whose metadata has torch call what setup.py names."""
    assert ENTRY_POINT is not None
    metadata = tmp_path / "path" / "compsrt_plugin-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: compsrt_plugin\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[torch.backends]\n{ENTRY_POINT[1].format(STARTUP='compsrt_plugin_startup')}\n"
    )
    return metadata.parent


def run(script: str, *path: Path, autoload: bool = True) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join([*map(str, path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": places, "TORCH_DEVICE_BACKEND_AUTOLOAD": str(int(autoload))}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)


def torchvision(folder: Path, **files: str) -> Path:
    """Write a torchvision of small modules, by their paths without the ending."""
    for path, text in {"__init__": "", "transforms/__init__": "", **files}.items():
        target = folder / "torchvision" / f"{path}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return folder


@pytest.mark.parametrize("first", ["from basicsr.utils import get_root_logger", "import torchvision"])
def test_whatever_is_imported_first_the_classes_are_registered_in_the_end(first: str, installed: Path) -> None:
    script = f"{first}\nimport compsrt_plugin\nfrom basicsr.utils.registry import ARCH_REGISTRY\n"
    done = run(f"{script}print('CompSRTSwinIR' in ARCH_REGISTRY)", installed)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_without_the_entry_point_basicsr_cannot_come_first(installed: Path) -> None:
    done = run("from basicsr.utils import get_root_logger", installed, autoload=False)
    assert done.returncode == 1 and "torchvision" in done.stderr


def test_importing_torch_alone_imports_nothing_of_torchvision_or_of_ours(installed: Path) -> None:
    script = "import sys, torch\nprint([name for name in sys.modules if name.startswith(('torchvision', 'compsrt'))])"
    assert run(script, installed).stdout == "['compsrt_plugin_startup']\n"


BROKEN = """
import compsrt_plugin_startup
{repair}
import torchvision
print("works:", torchvision.loaded)
compsrt_plugin_startup.repair_torchvision()
print("repairs:", list(compsrt_plugin_startup.in_force))
"""


def test_a_torchvision_whose_operators_do_not_load_becomes_importable(tmp_path: Path) -> None:
    folder = torchvision(tmp_path, __init__=ASKS_FOR_ITS_OPERATORS)
    (folder / "torchvision" / "_C.so").write_bytes(b"built for another torch")
    broken = run(BROKEN.format(repair=""), folder, autoload=False)
    assert "operator torchvision::nms does not exist" in broken.stderr
    done = run(BROKEN.format(repair="compsrt_plugin_startup.repair_torchvision()"), folder)
    assert done.stdout == "works: True\nrepairs: ['torchvision::nms']\n", done.stderr


@pytest.mark.parametrize("name", ["_C.so", "_C.cpython-313-x86_64-linux-gnu.so", "_C_stable.so", "_C.pyd"])
def test_operators_are_left_alone_where_torchvision_can_load_its_own(name: str, tmp_path: Path) -> None:
    folder = torchvision(tmp_path)
    (folder / "torchvision" / name).touch()
    script = """
import torch, compsrt_plugin_startup
torch.ops.load_library = lambda path: print(path.rpartition("/")[2])
compsrt_plugin_startup.repair_torchvision()
import torchvision
print(compsrt_plugin_startup.in_force)
"""
    assert run(script, folder).stdout == f"{name}\n{{}}\n"


DECLARES_THEM = """\
import torch
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def test_a_torchvision_whose_extension_is_not_known_declares_its_operators_itself(tmp_path: Path) -> None:
    done = run(
        "import compsrt_plugin_startup as startup; startup.repair_torchvision()\n"
        "import torchvision; print(startup.in_force)",
        torchvision(tmp_path, __init__=DECLARES_THEM),
    )
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr


RENAMED = """
import compsrt_plugin_startup
{repair}
from torchvision.transforms.functional_tensor import rgb_to_grayscale
print(rgb_to_grayscale, len(compsrt_plugin_startup.in_force))
"""
ONLY_RENAME = """
compsrt_plugin_startup.define_missing_operators = lambda: None
compsrt_plugin_startup.repair_torchvision()
"""


def test_the_module_that_torchvision_renamed_is_found_under_its_old_name(tmp_path: Path) -> None:
    folder = torchvision(tmp_path, **{"transforms/_functional_tensor": "rgb_to_grayscale = 'found'"})
    assert "ModuleNotFoundError" in run(RENAMED.format(repair=""), folder).stderr
    done = run(RENAMED.format(repair=ONLY_RENAME), folder)
    assert done.stdout == "found 1\n", done.stderr


def test_a_torchvision_that_still_has_the_module_is_left_alone(tmp_path: Path) -> None:
    folder = torchvision(tmp_path, **{"transforms/functional_tensor": "rgb_to_grayscale = 'its own'"})
    assert run(RENAMED.format(repair=ONLY_RENAME), folder).stdout == "its own 0\n"
