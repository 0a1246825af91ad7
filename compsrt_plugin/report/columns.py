"""Write tables: aligned columns for the terminal, Markdown for pages."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def align(rows: Sequence[Row]) -> list[str]:
    """Return rows of cells as lines of equal columns: the first flush left, the others flush right.

    >>> align([("set", "dB"), ("B100", "7")])
    ['set   dB', 'B100   7']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
        for row in rows
    ]


def ruled(rows: Sequence[Row]) -> list[str]:
    """Return aligned rows with a rule below the first, the heading."""
    heading, *lines = align(rows)
    return [heading, "-" * max(map(len, [heading, *lines])), *lines]


def markdown(rows: Sequence[Row], left: int = 1) -> list[str]:
    r"""Return rows, the heading first, as the lines of a Markdown table.

    Args:
        rows: cells; a `|` in them is escaped.
        left: columns that are flush left; the others are flush right.

    >>> markdown([("set", "dB"), ("a|b", "7")])
    ['| set | dB |', '| --- | ---: |', '| a\\|b | 7 |']
    """
    heading, *lines = ("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows)
    columns = len(rows[0])
    return [heading, "|" + " --- |" * min(left, columns) + " ---: |" * max(0, columns - left), *lines]
