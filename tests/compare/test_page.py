"""The page is one file that asks for nothing, whatever names are in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compsrt_plugin.cli.main import main
from compsrt_plugin.compare.page import script_json

from .conftest import HOSTILE, Networks


@pytest.fixture
def page(networks: Networks) -> str:
    assert main(["compare", "<b>two=two.yml", "@@DATA@@=three.yml", "--published", "--out", "out"]) == 0
    return Path("out/index.html").read_text(encoding="utf-8")


def test_names_are_text_wherever_they_stand(page: str) -> None:
    assert HOSTILE not in page and "<img" not in page.replace('element("img"', "")
    assert "<b>" not in page and "<title>&lt;b&gt;two · @@DATA@@</title>" in page
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(text)
    assert [entry["name"] for entry in data["entries"]] == ["<b>two", "@@DATA@@"]
    assert f"{HOSTILE}.png" in {picture["name"] for picture in data["pictures"]}


def test_the_page_is_whole_and_asks_for_nothing(page: str) -> None:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in page
    assert '<html lang="en">' in page
    links = re.findall(r'(?:src|href)="([^"]*)"|url\(|@import|https?://[^"]*', page)
    assert set(links) <= {"#pictures", "data:,", ""}
    addresses = set(re.findall(r"https?://[\w./]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, not a place
    assert len(page.encode()) < 20_000_000


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "a&b", "\u2028", "ü"])
def test_json_in_a_script_element_ends_it_nowhere(text: str) -> None:
    made = script_json({"name": text})
    assert not set("<>&") & set(made) and made.isascii()
    assert json.loads(made) == {"name": text}
