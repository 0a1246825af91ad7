"""The one exception a user may meet: a single line that says what, where, allowed, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MISSPELT = 0.8  # similarity of two names from which one is taken for a misspelling of the other


class CompSRTError(Exception):
    """A mistake in what the user gave us (file, key, value, image), told in one line.

    The `basicsr` command prints it without a traceback and exits with code 2.

    Args:
        what: what was found, and where (the file or key is named in it).
        allowed: what would have been accepted.
        hint: the next step.

    torch hands an error of a data loader's worker on as one of the same type with the worker's traceback for its text;
    the text's last line is what was said.

    >>> str(CompSRTError("quant.bits is 9", allowed="2 to 8", hint="set quant.bits: 3"))
    'quant.bits is 9; allowed: 2 to 8; set quant.bits: 3'
    """

    def __init__(self, what: str, *, allowed: str | None = None, hint: str | None = None) -> None:
        if what.startswith("Caught ") and "\nOriginal Traceback" in what:
            what = what.rstrip().splitlines()[-1].partition(": ")[2]
        parts = [what]
        if allowed:
            parts.append(f"allowed: {allowed}")
        if hint:
            parts.append(hint)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the known name most like `name`, or None if none has this similarity (0 to 1).

    >>> nearest("bit", ["bits", "recipe"])
    'bits'
    """
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=cutoff)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> CompSRTError:
    """Build the error for a name that is not among the known ones, with the nearest offered.

    >>> str(unknown_name("quant key", "bit", ["bits", "recipe"]))
    "unknown quant key 'bit'; allowed: bits, recipe; did you mean 'bits'?"
    """
    known = sorted(str(k) for k in known)
    guess = nearest(name, known)
    return CompSRTError(
        f"unknown {kind} {name!r}",
        allowed=", ".join(known),
        hint=f"did you mean {guess!r}?" if guess else None,
    )


def unknown_class(kind: str, name: str, known: Iterable[str]) -> CompSRTError:
    """Build the error for a name that code of the user's own may define: only a misspelling is guessed.

    >>> str(unknown_class("type:", "MyNet", ["SpyNet", "EDSR"]))
    "unknown type: 'MyNet'; allowed: EDSR, SpyNet; if it is your own, name its file: --code FILE.py"
    """
    known = sorted(str(k) for k in known)
    guess = nearest(name, known, MISSPELT)
    own = "if it is your own, name its file: --code FILE.py"
    hint = f"did you mean {guess!r}? {own[0].upper()}{own[1:]}" if guess else own
    return CompSRTError(f"unknown {kind} {name!r}", allowed=", ".join(known), hint=hint)
