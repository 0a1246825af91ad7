"""BasicSR's model classes, which compose `training/`, and the evaluation of networks on data sets."""

from __future__ import annotations

import basicsr  # noqa: F401  registers our classes, which are defined here: it must not happen halfway
