"""Arguments of SwinIR are checked before anything of their size is allocated."""

from __future__ import annotations

import re
from typing import Any

import pytest

from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.config.network_g import SwinIRBlock, check_arguments
from compsrt_plugin.errors import CompSRTError

LIGHT: dict[str, Any] = {
    "img_size": 64,
    "window_size": 8,
    "depths": [6, 6, 6, 6],
    "embed_dim": 60,
    "num_heads": [6, 6, 6, 6],
    "mlp_ratio": 2,
    "upscale": 4,
    "upsampler": "pixelshuffledirect",
}


def test_the_defaults_are_those_of_swinir_light() -> None:
    block = SwinIRBlock()
    assert {name: getattr(block, name) for name in CompSRTSwinIR.LIGHT} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in CompSRTSwinIR.LIGHT.items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "upsampler": "pixelshuffle"},
        {"embed_dim": 240, "depths": (6,) * 9, "num_heads": (8,) * 9, "upsampler": "nearest+conv"},
    ],
    ids=["light", "classical", "large, real-world"],
)
def test_published_networks_are_allowed(changes: dict[str, Any]) -> None:
    check_arguments({**LIGHT, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"embed_dm": 60}, "unknown key in network_g: 'embed_dm'.*did you mean 'embed_dim'"),
        ({"embed_dim": 100_000}, "network_g.embed_dim is 100000; allowed: 1 to 2048"),
        ({"embed_dim": "60"}, "network_g.embed_dim is '60'"),
        ({"depths": 6}, "network_g.depths is 6; allowed: a list"),
        ({"depths": []}, "network_g.depths is []; allowed: a list"),
        ({"depths": [6, 6]}, "network_g.depths has 2 groups, network_g.num_heads 4"),
        ({"num_heads": [7, 6, 6, 6]}, "allowed: heads that divide embed_dim"),
        ({"mlp_ratio": 0}, "network_g.mlp_ratio is 0"),
        ({"upsampler": "pixelshufle"}, "did you mean 'pixelshuffle'"),
        ({"upsampler": "nearest+conv", "upscale": 2}, "network_g.upscale is 2 with the upsampler nearest.conv"),
        ({"upsampler": "pixelshuffle", "upscale": 6}, "network_g.upscale is 6 with the upsampler pixelshuffle"),
        ({"embed_dim": 2040, "depths": [60] * 4}, "network of 8,.* numbers .*allowed: up to 300,000,000"),
        ({"img_size": 1024, "window_size": 64}, "network of .* numbers"),
    ],
)
def test_what_cannot_be_meant_is_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CompSRTError) as caught:
        check_arguments({**LIGHT, **changes})
    assert re.search(says.replace("[]", r"\[\]"), str(caught.value)), caught.value
