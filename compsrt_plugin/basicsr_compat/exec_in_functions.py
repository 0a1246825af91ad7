"""Give `exec` in a function its old effect: names that it defines are in `locals()` afterwards.

From Python 3.13 on (PEP 667) they are not, and the `setup.py` of BasicSR 1.4.2 looks for its version there.
`installing` copies this file to `sitecustomize.py` in a folder of its own, from which Python imports it where BasicSR
is built. It imports nothing of the package.
"""

import builtins
import sys
from typing import Any

_original = builtins.exec


def _with_names(code: Any, globals: Any = None, locals: Any = None, /, **others: Any) -> None:
    if globals is None:
        caller = sys._getframe(1)
        globals, locals = caller.f_globals, caller.f_locals
    _original(code, globals, locals, **others)


builtins.exec = _with_names
