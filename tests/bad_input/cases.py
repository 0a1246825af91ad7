"""The cases of bad input, entered by a decorator."""

from __future__ import annotations

from collections.abc import Callable

from places import Place

BAD: dict[str, tuple[str, str, Callable[[Place], object]]] = {}
Spoil = Callable[[Place], object]  # spoils the place; may return flags for the command


def bad(says: str, command: str = "test") -> Callable[[Spoil], Spoil]:
    """Return a decorator that enters a function as a case of `BAD`: what the command must then say."""

    def enter(spoil: Spoil) -> Spoil:
        BAD[spoil.__name__] = (command, says, spoil)
        return spoil

    return enter
