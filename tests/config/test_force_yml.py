"""`--force_yml a:b=c` changes what is there, creates keys in our blocks, and runs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from compsrt_plugin.config.force_yml import apply_force_yml
from compsrt_plugin.errors import CompSRTError


def options() -> dict[str, Any]:
    return {"name": "a", "path": {"pretrain_network_g": "x"}, "val": {"metrics": {"psnr": {"crop_border": 4}}}}


@pytest.mark.parametrize(
    ("entry", "path", "value"),
    [
        ("name=b", ["name"], "b"),
        ("manual_seed=3", ["manual_seed"], 3),
        ("val:metrics:psnr:crop_border=2", ["val", "metrics", "psnr", "crop_border"], 2),
        ("val:padding=flip", ["val", "padding"], "flip"),
        ("path:pretrain_network_g=~", ["path", "pretrain_network_g"], None),
        ("path:pretrain_network_g=None", ["path", "pretrain_network_g"], None),
        ("path:pretrain_network_g=https://a.b/c?d=e", ["path", "pretrain_network_g"], "https://a.b/c?d=e"),
        ("quant:bits=2", ["quant", "bits"], 2),
        ("quant:activation:transform=none", ["quant", "activation", "transform"], "none"),
        ("quant:overrides:layers.*.fc2={bits: 4}", ["quant", "overrides", "layers.*.fc2"], {"bits": 4}),
        ("prune:ratio=0.4", ["prune", "ratio"], 0.4),
        ("quant=null", ["quant"], None),
    ],
)
def test_an_entry_sets_its_key(entry: str, path: list[str], value: object) -> None:
    changed: Any = options()
    apply_force_yml(changed, [entry])
    for key in path:
        changed = changed[key]
    assert changed == value


def test_values_are_never_evaluated() -> None:
    changed = options()
    apply_force_yml(changed, ["name=__import__('os').getcwd()", "val:x=[1, 2]"])
    assert changed["name"] == "__import__('os').getcwd()"
    assert changed["val"]["x"] == [1, 2]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("quant:bits", r"'quant:bits'; allowed: block:key=value"),
        ("=3", r"allowed: block:key=value"),
        ("quant::bits=3", r"allowed: block:key=value"),
        ("nmae=b", r"unknown key.*'nmae'.*did you mean 'name'"),
        ("valu:save_img=false", r"did you mean 'val'"),
        ("val:metric:psnr:crop_border=2", r"no block 'metric' in val; did you mean 'metrics'"),
        ("name:first=b", r"name is 'a', not a block"),
        ("quant:bits=[3", r"--force_yml quant:bits=\[3, line 1"),
        ("quant:bits=!!python/object/apply:os.getcwd []", r"tag .* is not allowed"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(entry: str, says: str) -> None:
    changed = options()
    with pytest.raises(CompSRTError, match=says):
        apply_force_yml(changed, [entry])
    assert changed == options()
