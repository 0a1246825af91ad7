"""What happens between bound search and packed file: calibration, distillation, selection of the result, resuming."""

from __future__ import annotations

import basicsr  # noqa: F401  registers our classes, whose modules import this package: it must not happen halfway
