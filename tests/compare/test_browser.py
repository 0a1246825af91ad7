"""The page in a real browser: the slider moves, tables sort, keys work, and nothing is asked for."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compsrt_plugin.compare.differences import compare_to_baseline
from compsrt_plugin.compare.document import comparison_to_dict
from compsrt_plugin.compare.gather import Gathering
from compsrt_plugin.compare.page import page
from compsrt_plugin.compare.published import published_for
from compsrt_plugin.compare.settings import Settings
from compsrt_plugin.compare.visuals import sights
from compsrt_plugin.data.images import write_image
from compsrt_plugin.report import Score

from .conftest import HOSTILE
from .test_differences import entry

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # on a busy machine a window that seems to be hidden would otherwise wait for its next frame
    "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
)  # fmt: skip
METRICS = {name: {"type": f"calculate_{name}", "crop_border": 4, "test_y_channel": True} for name in ("psnr", "ssim")}
PSNRS = {"X": [31.5, 9.25, 30.0], "Y": [28.0]}
PICTURES = [("X", "2.png"), ("X", "10.png"), ("X", f"{HOSTILE}.png"), ("Y", "a.png")]
NAMES = ["two <b>", "three", "four"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, headless."""
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    driver = shutil.which("chromedriver")
    if found is None or driver is None:
        if os.environ.get("COMPSRT_BROWSER") == "required":
            pytest.fail("COMPSRT_BROWSER=required, and chromium or chromedriver is not there")
        pytest.skip("chromium or chromedriver is not there")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of three entries on four images; the third has no image of the last."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(0)
    entries = [entry(name, {}) for name in NAMES]
    originals = {}
    for number, (key, psnr) in enumerate(zip(PICTURES, [value for values in PSNRS.values() for value in values])):
        originals[key] = folder / f"{number}.png"
        original = rng.integers(0, 256, (100, 120, 3), np.uint8)
        write_image(originals[key], original)
        for index, one in enumerate(entries):
            one.results.add_image(*key, quantized=Score(psnr + index, 0.5 + index / 10))
            if (index, number) != (2, 3):
                one.images[key] = folder / f"{number}_{index}.png"
                write_image(one.images[key], np.clip(original.astype(int) + index * 9, 0, 255).astype(np.uint8))
    gathered = Gathering(entries, Settings(2, "reflect", METRICS), originals, PICTURES)
    found = comparison_to_dict(gathered, compare_to_baseline(entries, PICTURES), published_for(2, {2, 3}))
    path = folder / "index.html"
    path.write_text(page(found, sights(gathered)), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, written: Path) -> Iterator[Any]:
    with watched(browser, written):
        yield browser


@contextmanager
def watched(browser: Any, written: Path) -> Iterator[None]:
    """Open a page; afterwards the console must be empty and nothing else may have been asked for."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(written.as_uri())
    yield
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    # Chromium's own start page asks for its parts late at times
    asked = {one["request"]["url"] for one in sent if one["documentURL"] == written.as_uri()}
    assert written.as_uri() in asked
    assert all(url == written.as_uri() or url.startswith("data:") for url in asked), asked


def texts(browser: Any, selector: str) -> list[str]:
    return [found.text for found in browser.find_elements(By.CSS_SELECTOR, selector)]


def sort_by(browser: Any, title: str) -> str:
    """Press the heading of the table of images; return its aria-sort."""
    heads = browser.find_elements(By.CSS_SELECTOR, "#scores thead th")
    (head,) = [head for head in heads if head.text == title]
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert [head.get_attribute("aria-sort") for head in heads].count("none") == len(heads) - 1
    return head.get_attribute("aria-sort")


def border(browser: Any) -> float:
    """Return where the left image ends, in percent, as it is drawn."""
    script = """
        const above = document.querySelector(".stage .above"), handle = document.querySelector(".stage .handle");
        const stage = document.querySelector(".stage").getBoundingClientRect();
        const seen = 100 - parseFloat(getComputedStyle(above).clipPath.match(/inset\\(0(?:px)? (?:calc\\()?(.*?)%/)[1]);
        const line = handle.getBoundingClientRect();
        return [seen, 100 * (line.left + line.width / 2 - stage.left) / stage.width];
    """
    seen, line = browser.execute_script(script)
    assert seen == pytest.approx(line, abs=0.2)
    return seen


def test_the_slider_moves_by_keys_and_by_pointer(opened: Any) -> None:
    slider = opened.find_element(By.CSS_SELECTOR, "input[type=range]")
    assert border(opened) == pytest.approx(50)
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert border(opened) == pytest.approx(52)
    assert slider.get_attribute("aria-valuetext") == "52 % two <b>, 48 % three"
    slider.send_keys(Keys.HOME)
    assert border(opened) == pytest.approx(0)
    slider.send_keys(Keys.END)
    assert border(opened) == pytest.approx(100)
    width = slider.size["width"]
    webdriver.ActionChains(opened).move_to_element_with_offset(slider, -width // 4, 0).click().perform()
    assert border(opened) == pytest.approx(25, abs=3)


def test_the_focus_of_the_slider_is_seen(opened: Any) -> None:
    script = "return getComputedStyle(document.querySelector('.stage')).outlineStyle"
    assert opened.execute_script(script) == "none"
    opened.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.ARROW_LEFT)
    assert opened.execute_script(script) == "solid"


def test_tables_sort_numbers_by_size_and_texts_by_their_numbers(opened: Any) -> None:
    assert sort_by(opened, "two <b>") == "ascending"
    assert texts(opened, "#scores tbody td:nth-child(3)") == ["9.25", "28.00", "30.00", "31.50"]
    assert sort_by(opened, "two <b>") == "descending"
    assert texts(opened, "#scores tbody td:nth-child(3)") == ["31.50", "30.00", "28.00", "9.25"]
    assert sort_by(opened, "image") == "ascending"
    order = texts(opened, "#scores tbody th")
    assert order.index("2.png") < order.index("10.png") and f"{HOSTILE}.png" in order


def test_the_metric_of_the_table_can_be_chosen(opened: Any) -> None:
    Select(opened.find_element(By.ID, "metric")).select_by_visible_text("SSIM")
    assert texts(opened, "#scores tbody td:nth-child(4)") == ["0.6000"] * 4
    assert texts(opened, "#scores tbody td:nth-child(6)") == ["+0.10000"] * 4


def test_a_picture_of_the_table_opens_in_the_viewer(opened: Any) -> None:
    buttons = opened.find_elements(By.CSS_SELECTOR, "#scores .link")
    buttons[2].send_keys(Keys.ENTER)
    assert opened.find_element(By.CSS_SELECTOR, ".stage .above").get_attribute("alt") == f"{HOSTILE}.png, two <b>"
    assert opened.switch_to.active_element.get_attribute("id") == "pictures"
    assert opened.execute_script("return document.querySelector('.stage .above').naturalWidth") == 120


def test_every_picture_has_slider_crops_and_error_maps(opened: Any) -> None:
    following = opened.find_element(By.CSS_SELECTOR, ".steps button:last-child")
    for number in range(len(PICTURES)):
        count = 3 - (number == 3)
        loaded = "return [...document.querySelectorAll('#viewer img')].map((image) => image.naturalWidth)"
        assert opened.execute_script(loaded) == [120, 120, *[80] * (count + 1), *[120] * count]
        widths = "return [...document.querySelectorAll('.crops img')].map((image) => image.offsetWidth)"
        assert set(opened.execute_script(widths)) in ({240}, {160})  # equal, and a whole factor of 80
        assert all(image.get_attribute("alt") for image in opened.find_elements(By.CSS_SELECTOR, "#viewer img"))
        assert following.is_enabled() == (number < len(PICTURES) - 1)
        if following.is_enabled():
            following.click()


def test_a_side_that_a_picture_lacks_is_not_offered(opened: Any) -> None:
    left, right = (Select(found) for found in opened.find_elements(By.CSS_SELECTOR, ".controls select")[1:])
    right.select_by_visible_text("four")
    left.select_by_visible_text("original")
    Select(opened.find_element(By.CSS_SELECTOR, ".controls select")).select_by_visible_text("Y / a.png")
    assert right.first_selected_option.text == "three" and left.first_selected_option.text == "original"
    (four,) = (option for option in right.options if option.text == "four")
    assert not four.is_enabled()


def test_published_rows_are_marked(opened: Any) -> None:
    origins = texts(opened, "#published tbody td:nth-child(2)")
    assert origins[:3] == ["this comparison"] * 3 and set(origins[3:]) == {"published"}
    notes = texts(opened, "#published .notes li")
    assert len(notes) == 2 and "typing error" in notes[1]
    assert {"CompSRT ¹", "CompSRT ²"} <= set(texts(opened, "#published tbody th"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_tables_sideways_and_text_can_be_read(opened: Any, scheme: str) -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") == 360
        assert opened.execute_script("return document.querySelector('.stage').offsetWidth") <= 360
        low = opened.execute_script(CONTRAST)
        assert low == [], low
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_page_without_pictures_says_so(browser: Any, tmp_path: Path) -> None:
    entries = [entry(name, {"X": [30.0, psnr]}, ssim=False) for name, psnr in (("a", 31.0), ("b", math.inf))]
    keys = [("X", "0.png"), ("X", "1.png")]
    gathered = Gathering(entries, Settings(4, "reflect", {"psnr": METRICS["psnr"]}), {}, keys)
    path = tmp_path / "index.html"
    path.write_text(
        page(comparison_to_dict(gathered, compare_to_baseline(entries, keys), None), sights(gathered)), encoding="utf-8"
    )
    with watched(browser, path):
        notes = texts(browser, "#viewer .note")
        assert notes[0].startswith("No images were saved for a, b") and "no slider" in notes[1]
        assert not browser.find_elements(By.CSS_SELECTOR, "input, #scores .link, #metric")
        assert texts(browser, "#scores tbody td:nth-child(4)") == ["30.00", "∞"]
        assert "infinite" in texts(browser, "#warnings li")[0]
        assert not browser.find_element(By.ID, "published").is_displayed()


# every text against the nearest ground behind it, by WCAG 2: at least 4.5 to 1
CONTRAST = """
    const light = (colour) => {
      const parts = colour.match(/[\\d.]+/g).map(Number);
      const shares = parts.slice(0, 3).map((v) => v / 255);
      const linear = shares.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      return { value: 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2], alpha: parts[3] ?? 1 };
    };
    const ground = (node) => {
      for (; node; node = node.parentElement) {
        const found = light(getComputedStyle(node).backgroundColor);
        if (found.alpha === 1) return found.value;
      }
      return 1;
    };
    const low = [];
    for (const node of document.querySelectorAll("body *")) {
      const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!own || node.disabled || !node.offsetParent || node.closest(".stage, script, option")) continue;
      const [a, b] = [light(getComputedStyle(node).color).value, ground(node)].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < 4.5) low.push([node.tagName, node.textContent.slice(0, 30), ratio]);
    }
    return low;
"""
