"""GPTQ: round the columns of a weight one by one, and let later columns compensate the errors of earlier ones.

The codes of a row w should keep its outputs X w̃, not w itself. Columns are processed in descending order of E[x_j²].
Each gets the code nearest to its current value, and its error e is distributed over the remaining columns,

    w_rest <- w_rest - e / U_jj · U_j,rest,        H^-1 = U^T U,   H = X^T X + λ I

(Frantar et al., arXiv 2210.17323; as there, λ is one percent of the mean of H's diagonal.) Scale and zero point stay.

Distillation starts from these codes: the weight is shifted in the domain just far enough to round to them
(`shift_to`). A weight in the middle of its code would be half a scale away from every other code, too far for the
iterations of a short schedule.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.quant.fake import dequantize, integer_codes, position
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.network import quantized_layers
from compsrt_plugin.quant.passes.registry import Calibration, Pass, Stage, register_pass
from compsrt_plugin.quant.passes.statistics import gather_statistics
from compsrt_plugin.quant.quantizer import Quantizer
from compsrt_plugin.quant.spec import NetworkSpec

DAMPING = 0.01
REACH = 0.49  # in scales: largest distance of a shifted weight from the middle of its code


def round_compensated(layer: QuantLinear, gram: Tensor) -> None:
    """Set the `weight_shift` of a layer so that its codes keep its outputs.

    Args:
        layer: not frozen, with bounds and strict codes; pruned weights stay 0.
        gram: X^T X of its inputs in the domain of the weight, (m, m), up to a factor.
    """
    quantizer = layer.weight_quantizer
    with torch.no_grad():
        weight = quantizer.transform(layer.weight_matrix()).double()
        codes = gptq_codes(weight, quantizer, gram.to(weight), layer.weight_mask)
        shift = shift_to(codes, weight, quantizer).to(layer.weight_matrix())
        layer.weight_shift = shift if layer.weight_mask is None else shift * layer.weight_mask


def gptq_codes(weight: Tensor, quantizer: Quantizer, gram: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the codes of a weight with compensated rounding errors.

    Args:
        weight: (rows, m) in the quantizer's domain, float64.
        quantizer: of the weight; its scale and zero point are used unchanged.
        gram: (m, m), float64.
        mask: boolean (rows, m), False where the value is 0 whatever the code; None: nowhere.

    Returns:
        (rows, m) of integers 0 to 2^bits - 1, in float64.
    """
    scale, zero_point = (part.detach().double() for part in quantizer.scale_and_zero_point())
    columns = gram.shape[0]
    mean = gram.diagonal().mean()
    damping = torch.where(mean > 0, DAMPING * mean, 1.0)  # inputs that are all 0 favor no code
    order = gram.diagonal().argsort(descending=True, stable=True)
    hessian = gram[order][:, order] + damping * torch.eye(columns, dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    stays = None if mask is None else mask[:, order]
    left = weight[:, order] if stays is None else weight[:, order] * stays
    codes = torch.empty_like(weight)
    for j in range(columns):
        column = left[:, j : j + 1]
        code = integer_codes(column, scale, zero_point, quantizer.spec.levels - 1)
        value = dequantize(code, scale, zero_point)
        if stays is not None:
            value = value * stays[:, j : j + 1]
        left[:, j + 1 :] -= (column - value) / factor[j, j] * factor[j, j + 1 :]
        codes[:, j : j + 1] = code
    return codes[:, order.argsort()]


def shift_to(codes: Tensor, weight: Tensor, quantizer: Quantizer) -> Tensor:
    """Return the smallest shift of a weight after which it rounds to the given codes.

    Args:
        codes: (rows, m), from `gptq_codes`.
        weight: (rows, m) in the quantizer's domain, float64.
        quantizer: of the weight.

    Returns:
        (rows, m), in the units of the weight; 0 where the weight already rounds to its code.
    """
    scale, zero_point = (part.detach().double() for part in quantizer.scale_and_zero_point())
    found = position(weight, scale, zero_point)
    lowest = torch.where(codes == 0, -torch.inf, codes - REACH)
    highest = torch.where(codes == quantizer.spec.levels - 1, torch.inf, codes + REACH)
    near = (found - codes).abs() < 0.5  # excludes ties, which may round to the other code
    return torch.where(near, 0.0, found.clamp(lowest, highest) - found) * scale


def round_weights(calibration: Calibration, _rounding: str) -> None:
    """Round the weights of all quantized linear layers by GPTQ; bounds are searched."""
    if not calibration.has_linear_layers:
        return
    statistics = gather_statistics(calibration.network, calibration.patches("rounding"))
    changed = total = 0
    for name, layer in quantized_layers(calibration.network):
        if isinstance(layer, QuantLinear) and layer.weight_quantizer.spec.codes == "strict":
            round_compensated(layer, statistics[name].gram)
            assert layer.weight_shift is not None
            changed += int(layer.weight_shift.count_nonzero())
            total += layer.weight_shift.numel()
    calibration.log(f"Weights rounded by gptq: {changed / max(total, 1):.1%} have another code than the nearest")


def _settle(spec: NetworkSpec, rounding: str, given: bool) -> str:
    """Return `nearest` where a recipe asks for GPTQ of codes that are not strict; refuse it in `quant:`."""
    if rounding == "nearest" or spec.weight.codes == "strict":
        return rounding
    if given:
        found = f"quant.rounding is {rounding} and codes of weights are {spec.weight.codes}"
        raise CompSRTError(found, hint="take codes: strict")
    return "nearest"


register_pass(
    Pass(
        "rounding",
        "`nearest`, or `gptq`, which picks the codes of linear weights after the bound search so that their errors "
        "cancel on the calibration patches.",
        kind=Literal["nearest", "gptq"],
        off="nearest",
        stage=Stage.BOUNDS,
        run=round_weights,
        settle=_settle,
    )
)
