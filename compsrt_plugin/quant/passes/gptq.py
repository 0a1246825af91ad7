"""Rounding of a weight in which later columns make up for what earlier ones lost: GPTQ.

Codes of a row w are to keep its outputs X w̃, not w itself. Column by column, in descending order of E[x_j²], a code is
the nearest to what the weight is by then, and its error e is handed on to the columns that are left,

    w_rest <- w_rest - e / U_jj · U_j,rest,        H^-1 = U^T U,   H = X^T X + λ I

(Frantar et al., arXiv 2210.17323; λ is one per cent of the mean of H's diagonal, as there.) Scale and zero point stay.

Distillation goes on from the codes found: the weight is moved, in the domain, just so far that it rounds to them
(`shift_to`). A weight moved to the middle of its code would be half a scale away from any other, further than the
iterations of a short schedule carry it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compsrt_plugin.quant.fake import dequantize, integer_codes, position
from compsrt_plugin.quant.layers import QuantLinear
from compsrt_plugin.quant.quantizer import Quantizer

DAMPING = 0.01
REACH = 0.49  # of a scale, how far from the middle of its code a moved weight may lie


def round_compensated(layer: QuantLinear, gram: Tensor) -> None:
    """Give a layer the codes that keep its outputs, by a `weight_shift`.

    Args:
        layer: not frozen, its bounds set, with strict codes; pruned weights stay 0.
        gram: X^T X of its inputs in the domain of the weight, (m, m), of any scale.
    """
    quantizer = layer.weight_quantizer
    with torch.no_grad():
        weight = quantizer.transform(layer.weight_matrix()).double()
        codes = gptq_codes(weight, quantizer, gram.to(weight), layer.weight_mask)
        shift = shift_to(codes, weight, quantizer).to(layer.weight_matrix())
        layer.weight_shift = shift if layer.weight_mask is None else shift * layer.weight_mask


def gptq_codes(weight: Tensor, quantizer: Quantizer, gram: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the codes of a weight whose rounding errors are compensated.

    Args:
        weight: (rows, m) in the quantizer's domain, float64.
        quantizer: of the weight; its scale and zero point are used as they are.
        gram: (m, m), float64.
        mask: boolean (rows, m), False where the value is to be 0, whatever the code; None: nowhere.

    Returns:
        (rows, m) of whole numbers 0 to 2^bits - 1, in float64.
    """
    scale, zero_point = (part.detach().double() for part in quantizer.scale_and_zero_point())
    columns = gram.shape[0]
    mean = gram.diagonal().mean()
    damping = torch.where(mean > 0, DAMPING * mean, 1.0)  # inputs that are all 0 prefer no code
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
    """Return the smallest shift of a weight that makes it round to given codes.

    Args:
        codes: (rows, m), as `gptq_codes` returns them.
        weight: (rows, m) in the quantizer's domain, float64.
        quantizer: of the weight.

    Returns:
        (rows, m), in the weight's units; 0 where the weight rounds to its code already.
    """
    scale, zero_point = (part.detach().double() for part in quantizer.scale_and_zero_point())
    found = position(weight, scale, zero_point)
    lowest = torch.where(codes == 0, -torch.inf, codes - REACH)
    highest = torch.where(codes == quantizer.spec.levels - 1, torch.inf, codes + REACH)
    near = (found - codes).abs() < 0.5  # on a tie it may round to the other code
    return torch.where(near, 0.0, found.clamp(lowest, highest) - found) * scale
