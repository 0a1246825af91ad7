"""Define the exception for user errors: one line with what was found, where, what is allowed, and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MISSPELT = 0.8  # similarity from which a name counts as a misspelling of another


class CompSRTError(Exception):
    """An error in the user's input (file, key, value, image), reported in one line.

    The `basicsr` command prints it without a traceback and exits with code 2.

    Args:
        what: what was found, and where (it names the file or key).
        allowed: what is accepted.
        hint: the next step.

    torch re-raises an error of a data loader worker as the same type with the worker's traceback as its text. The last
    line of that text is the message.

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
    """Return the known name that is most similar to `name`, or None if the similarity (0 to 1) is below `cutoff`.

    >>> nearest("bit", ["bits", "recipe"])
    'bits'
    """
    matches = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=cutoff)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> CompSRTError:
    """Return the error for an unknown name, with the nearest known name as a suggestion.

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
    """Return the error for an unknown name that user code may define. Only a likely misspelling is suggested.

    >>> str(unknown_class("type:", "MyNet", ["SpyNet", "EDSR"]))
    "unknown type: 'MyNet'; allowed: EDSR, SpyNet; if it is your own, name its file: --code FILE.py"
    """
    known = sorted(str(k) for k in known)
    guess = nearest(name, known, MISSPELT)
    own = "if it is your own, name its file: --code FILE.py"
    hint = f"did you mean {guess!r}? {own[0].upper()}{own[1:]}" if guess else own
    return CompSRTError(f"unknown {kind} {name!r}", allowed=", ".join(known), hint=hint)
