from __future__ import annotations

import numpy as np
import pytest

from compsrt_plugin.report import panels_for

PICTURE = np.zeros((8, 8, 3), np.uint8)


def test_captions_come_from_the_results(results):
    pictures = {"quantized": PICTURE, "bicubic": PICTURE, "teacher": PICTURE}

    panels = panels_for(results, "Set5", "baby", pictures, PICTURE)

    assert [(panel.name, panel.detail) for panel in panels] == [
        ("Bicubic", "28.00 dB"),
        ("Teacher, 32-bit", "32.00 dB, 3.72 MB"),
        ("3-bit", "31.00 dB, 612 kB"),
        ("Original", ""),
    ]


def test_a_nominal_width_is_called_nominal_in_the_caption_too(make_results):
    results = make_results(codes="paper", distinct_codes={"q": 24})

    panels = panels_for(results, "Set5", "baby", {"quantized": PICTURE}, PICTURE)

    assert panels[0].name == "nominal 3-bit, up to 24 codes"


def test_a_network_without_quantizers_is_called_full_precision(make_results):
    panels = panels_for(make_results(bits=32), "Set5", "baby", {"quantized": PICTURE}, PICTURE)

    assert panels[0].name == "Full precision"


def test_a_picture_of_an_unknown_method_is_refused(results):
    with pytest.raises(ValueError, match="student"):
        panels_for(results, "Set5", "baby", {"student": PICTURE}, PICTURE)
