"""What happens between bound search and packed file.

- `run`: one training run, from its first iteration or a state to its result.
- `task`: what differs between the two kinds of run, `quantization` and `full_precision`.
- `calibrator`: the steps before the first iteration and their order (`quant.passes`); `gradual_pruning`, `patches`.
- `trainer`: the iterations; `distillation`, `features`: the loss; `parameter_groups`: learning rates, moving average.
- `selection`, `held_out`: which iteration becomes the result.
- `states`, `resume_check`, `stop_request`: stopping and resuming; `data`: training patches that a resumed run repeats.
- `loss_curve`, `progress_bar`, `option_text`: what a run shows and records.
"""

from __future__ import annotations

import basicsr  # noqa: F401  registers our classes, whose modules import this package: it must not happen halfway
