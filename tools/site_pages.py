"""Hooks of MkDocs: the site's menu from docs/index.md, the pages outside docs/, and the reference of the Python API.

Pages link to each other as they lie in the repository. A link that leaves docs/ leads to a page or file that is added
to the site here, so that every link works in both places.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")

PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Page in the root of the repository -> page of the site."""

PUBLIC = (
    *("compsrt_plugin.load", "compsrt_plugin.quantize", "compsrt_plugin.notebook.Upscaler"),
    *("compsrt_plugin.cluster", "compsrt_plugin.spandrel_support", "compsrt_plugin.publish"),
    # two functions that a module of their name hides
    *("compsrt_plugin.quant.convert.convert", "compsrt_plugin.quant.calibrate.calibrate"),
    *("compsrt_plugin.quant", "compsrt_plugin.pruning", "compsrt_plugin.inference", "compsrt_plugin.engine"),
    "compsrt_plugin.packed",
)
"""What the reference shows: a package stands for the names of its `__all__`."""


def on_config(config: Any) -> Any:
    """Make the menu: the sections of docs/index.md with the pages that they link to, in their order."""
    _, *sections = re.split(r"^## (.*)$", (ROOT / "docs/index.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    menu: list[Any] = ["index.md", {"Overview": PAGES["README.md"]}]
    for title, text in zip(sections[::2], sections[1::2]):
        pages = list(dict.fromkeys(re.findall(r"\]\(([\w/]+\.md)\)", text)))
        if title == "Reference":
            pages = ["api.md", *pages, *(page for name, page in PAGES.items() if name != "README.md")]
        menu.append({title: pages})
    config["nav"] = menu
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages outside docs/, the files that pages link to there, and the reference."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_moved((ROOT / name).read_text(encoding="utf-8"), name)))
    files.append(File.generated(config, "api.md", content=_reference()))
    known = {file.src_uri for file in files}
    linked = {target for path in _repository_pages() for target in _targets(path)}
    for target in sorted(linked - set(PAGES)):
        place = f"repository/{target}"
        if not target.startswith("docs/") and (ROOT / target).is_file() and place not in known:
            files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point the links of a page of docs/ to where their targets are on the site."""
    uri = page.file.src_uri
    return markdown if uri == "api.md" or uri in PAGES.values() else _moved(markdown, f"docs/{uri}")


def _repository_pages() -> list[str]:
    return [*PAGES, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]


def _targets(page: str) -> set[str]:
    """Return the files of the repository that a page links to."""
    found = LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    return {posixpath.normpath(posixpath.join(posixpath.dirname(page), target)) for _, target in found}


def _moved(markdown: str, page: str) -> str:
    """Return a page's text with its links as they are on the site."""
    here = posixpath.dirname(_on_site(page))

    def replaced(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), match[2]))
        return match[1] + posixpath.relpath(_on_site(target), here or ".")

    return LINK.sub(replaced, markdown)


def _on_site(path: str) -> str:
    """Return where a file of the repository is on the site."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"


def _reference() -> str:
    lines = ["# Python API\n", "Made from the docstrings of the package.\n"]
    lines += [f"::: {name}\n" for name in PUBLIC]
    return "\n".join(lines)
