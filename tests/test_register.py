"""`import compsrt_plugin` in anyone's own script is enough, wherever it stands and however often."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import Place

OURS = """
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY
for registry, name in [
    (ARCH_REGISTRY, "CompSRTSwinIR"), (MODEL_REGISTRY, "CompSRTModel"), (DATASET_REGISTRY, "CompSRTPairedDataset")
]:
    assert sum(key.startswith(name) for key in registry.keys()) == 1, (name, list(registry.keys()))
from compsrt_plugin.pruning import PRUNING_REGISTRY
assert "magnitude" in PRUNING_REGISTRY
network = ARCH_REGISTRY.get("CompSRTSwinIR")(depths=[1], num_heads=[6], img_size=8, upscale=2)
print("registered", type(network).__name__)
"""
# What users whose torchvision BasicSR does not like do by hand; then all that BasicSR scans is imported.
SCANNED = """
import sys, torch
try:
    import torchvision
except RuntimeError:
    sys.modules.pop("torchvision", None)
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision.transforms._functional_tensor as tensor
sys.modules.setdefault("torchvision.transforms.functional_tensor", tensor)
import basicsr.archs, basicsr.data, basicsr.metrics, basicsr.models, basicsr.train
"""
AGAIN = """
import importlib
importlib.reload(compsrt_plugin)
for name in [name for name in sys.modules if name.split(".")[0] == "compsrt_plugin"]:
    del sys.modules[name]
import compsrt_plugin
"""
ORDERS = {
    "before BasicSR, twice": "import sys, compsrt_plugin\nimport basicsr.archs, basicsr.models, basicsr.data\n" + AGAIN,
    "after BasicSR has scanned its folders, twice": SCANNED + "import compsrt_plugin\n" + AGAIN,
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_import_registers_everything_once(order: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(ORDERS[order] + OURS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == "registered CompSRTSwinIR\n", done.stderr
    assert "Error" not in done.stderr


OWN_TEST_PY = """
import os.path as osp
import compsrt_plugin
from basicsr.test import test_pipeline

if __name__ == "__main__":
    test_pipeline(osp.abspath(osp.join(__file__, osp.pardir)))
"""


def test_anyones_own_test_py_runs_our_option_files(place: Place) -> None:
    place.data["type"] = "PairedImageDataset"
    place.write("test")
    Path("test.py").write_text(OWN_TEST_PY)
    argv = [sys.executable, "test.py", "-opt", "options.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "quantized" in done.stdout
    assert Path("results/run/results.json").is_file()
