"""Take the screenshot of a page of `basicsr compare` for docs/compare.md; needs chromium and selenium.

    python benchmarks/page_screenshot.py compared/index.html docs/images/compare.webp

It shows the part "Side by side" in a window of 1200 pixels.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTH, QUALITY = 1200, 90


def main() -> None:
    """Write the screenshot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory() as profile:
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            metrics = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            browser.get(args.page.resolve().as_uri())
            top, bottom = browser.execute_script(
                "const part = (name) => document.querySelector(name).getBoundingClientRect();"
                "return [part('#pictures').top, part('.beside').bottom];"
            )
            clip = {"x": 0, "y": top, "width": WIDTH, "height": bottom - top + 4, "scale": 1}
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        finally:
            browser.quit()
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as image:
        image.convert("RGB").save(args.picture, "WEBP", quality=QUALITY)


if __name__ == "__main__":
    main()
