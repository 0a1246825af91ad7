"""`make docs` builds a site on which every page and link of the repository is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pages
import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    own = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=pages.ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_it_and_in_the_menu(site: Path) -> None:
    menu = (site / "index.html").read_text(encoding="utf-8")
    for path in pages.DOCS.rglob("*.md"):
        page = path.relative_to(pages.DOCS).with_suffix(".html").as_posix()
        assert (site / page).is_file() and (f'href="{page}"' in menu or page == "index.html"), page
    assert (site / "overview.html").is_file() and 'href="overview.html"' in menu


def test_links_that_leave_docs_lead_to_files_of_the_site(site: Path) -> None:
    assert 'href="repository/compsrt_plugin/compare/published.csv"' in (site / "compare.html").read_text("utf-8")
    assert (site / "repository/compsrt_plugin/compare/published.csv").is_file()
    assert 'href="overview.html#' in (site / "results.html").read_text("utf-8")


def test_the_reference_shows_the_python_api(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in ("load", "notebook.Upscaler", "cluster.UpscaleFiles", "quant.convert.convert", "pruning.prune"):
        assert f'id="compsrt_plugin.{name}"' in text, name


def test_the_search_finds_pages_and_names(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"pruning.html", "notes/training.html", "api.html"} <= places


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for tag in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
            assert tag not in text, page
