"""Make the HTML page: figures and images as JSON inside the HTML, CSS and JavaScript of `page/`."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from compsrt_plugin.compare.visuals import _LOSSLESS_QUALITY, STEP, STEPS, Images, Sight, Sights

SCRIPTS = ("common.js", "tables.js", "viewer.js", "main.js")
_SLOT = re.compile(r"@@([A-Z]+)@@")


def page(data: Mapping[str, Any], sights: Sights) -> str:
    """Return the page as self-contained HTML.

    Args:
        data: from `document.comparison_to_dict`.
        sights: the images.
    """
    keys = [(image["data_set"], image["name"]) for image in data["pictures"]]
    shown = {str(keys.index(key)): _sight(sight) for key, sight in sights.shown.items()}
    everything = {
        **data,
        "sights": shown,
        "left_out": len(sights.left_out),
        "unseen": len(sights.unseen),
        "error_step": STEP,
        "error_steps": STEPS,
    }
    title = " · ".join(entry["name"] for entry in data["entries"])
    slots = {
        "TITLE": html.escape(title),
        "STYLE": _part("style.css"),
        "SCRIPT": "\n".join(_part(name) for name in SCRIPTS),
        "DATA": script_json(everything),
    }
    return _SLOT.sub(lambda match: slots[match[1]], _part("index.html"))


def script_json(value: Any) -> str:
    """Return JSON that is safe inside a `<script>` element, for any strings in it.

    >>> script_json({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


@cache
def _part(name: str) -> str:
    return (files("compsrt_plugin.compare") / "page" / name).read_text(encoding="utf-8")


def _sight(sight: Sight) -> dict[str, Any]:
    details = sight.details
    return {
        "width": details.width,
        "height": details.height,
        "quality": None if sight.quality == _LOSSLESS_QUALITY else sight.quality,
        "whole": _uris(sight.whole, "webp"),
        "errors": _uris(details.errors, "png"),
        "box": list(details.box),
        "crops": _uris(details.crops, "png"),
    }


def _uris(images: Images, kind: str) -> list[str | None]:
    return [
        None if image is None else f"data:image/{kind};base64,{base64.b64encode(image).decode()}" for image in images
    ]
