"""What tests read from the pages of documentation: code blocks, commands, links, sections."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def read(name: str) -> str:
    """Return the text of a page, `docs/pruning.md` or `README.md`."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the code blocks of one language; `""` for blocks that name none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for named, content in fenced if named == language]


def commands(text: str, program: str = "basicsr") -> list[list[str]]:
    """Return the arguments of each command of a program in blocks that name no language, continued lines joined."""
    lines = "".join(blocks(text, "")).replace("\\\n", "").replace("&&\n", "\n").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [found[found.index(program) + 1 :] for found in words if program in found]


def run(example: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a Python block with the names that blocks before it have made, and return all of them."""
    names = {} if names is None else names
    exec(compile(example, "example in a page", "exec"), names)
    return names


def sections(text: str) -> dict[str, str]:
    """Return the text below each heading of the second level, in order."""
    _, *found = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2]))


def links(text: str) -> list[str]:
    """Return the targets of the links and images to files and headings of the project."""
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)


def anchors(text: str) -> set[str]:
    """Return the names by which headings are linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
