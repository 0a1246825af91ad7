"""Scale, zero point and centre of codes, in double precision."""

from __future__ import annotations

import numpy as np
import torch

from compsrt_plugin.quant import Quantizer


class Scale:
    """Scale and zero point of a quantizer, and the integer around which its codes are centred.

    Attributes:
        s, z: float64, () or (rows, 1): x̂ = s r + z.
        centre: integers, the codes nearest to x̂ = 0.
        z_centred: x̂ = s (r − centre) + z_centred.
    """

    def __init__(self, quantizer: Quantizer) -> None:
        with torch.no_grad():
            s, z = quantizer.scale_and_zero_point()
        self.s, self.z = s.detach().cpu().double().numpy(), z.detach().cpu().double().numpy()
        self.top = quantizer.spec.levels - 1
        self.centre = np.clip(np.rint(-self.z / self.s), 0, self.top)
        self.z_centred = self.z + self.s * self.centre
        self.largest = int(np.maximum(self.centre, self.top - self.centre).max())  # |code − centre|
