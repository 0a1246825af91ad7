"""`CompSRTSwinIR`: BasicSR's SwinIR with quantized linears, attention operands and convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from basicsr.archs.swinir_arch import SwinIR, WindowAttention
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from compsrt_plugin.config.network_g import check_arguments
from compsrt_plugin.quant import (
    NetworkSpec,
    Quantizer,
    QuantLinear,
    convert,
    product,
    quantize_linear,
    register_adapter,
    weighted_sum,
)
from compsrt_plugin.quant.computed_weights import has_computed_weight
from compsrt_plugin.registries import register_once

PARTS = ("q", "k", "v")
OPERANDS = ("q", "k", "v", "map")
DERIVED_BUFFERS = ("attn_mask", "relative_position_index")  # they follow from the window and image size


@register_once(ARCH_REGISTRY)
class CompSRTSwinIR(SwinIR):
    """SwinIR whose layers are quantized as `quant` says; the light network by default.

    Sixteen quantizers in each Swin block: input and weight of q, k, v, proj, fc1, fc2, and the four attention
    operands (q after scaling, k, v, softmax map). Without `quant` it is SwinIR: weight files of SwinIR load as
    they are, with or without their buffers, and `quantize` swaps the layers afterwards.

    Args:
        quant: a `NetworkSpec`, or its `to_dict()`; None leaves the full-precision SwinIR.
        **swinir: arguments of BasicSR's SwinIR; those left out are SwinIR-light's (embed_dim 60, depths and
            heads 6 6 6 6, window 8, mlp_ratio 2, pixelshuffledirect).

    Raises:
        CompSRTError: for an argument or a spec that is not allowed, or an override that matches nothing.
    """

    LIGHT: Mapping[str, Any] = {
        "img_size": 64,
        "window_size": 8,
        "img_range": 1.0,
        "depths": (6, 6, 6, 6),
        "embed_dim": 60,
        "num_heads": (6, 6, 6, 6),
        "mlp_ratio": 2,
        "upsampler": "pixelshuffledirect",
        "resi_connection": "1conv",
    }

    def __init__(self, quant: NetworkSpec | Mapping[str, Any] | None = None, **swinir: Any) -> None:
        arguments = self.complete(swinir)
        super().__init__(**arguments)
        self.window_size: int = arguments["window_size"]
        self.quant: NetworkSpec | None = None
        self._leave_derived_buffers_out_of_files()
        if quant is not None:
            self.quantize(quant if isinstance(quant, NetworkSpec) else NetworkSpec.from_dict(quant))

    @classmethod
    def complete(cls, swinir: Mapping[str, Any]) -> dict[str, Any]:
        """Return SwinIR's arguments with those of SwinIR-light for the ones left out; CompSRTError if one is wrong."""
        arguments = {**cls.LIGHT, **swinir}
        check_arguments(arguments)
        return arguments

    def quantize(self, spec: NetworkSpec) -> None:
        """Swap the layers for quantized ones; the parameters' values stay, the quantizers are off."""
        convert(self, spec)
        self.quant = spec

    def _leave_derived_buffers_out_of_files(self) -> None:
        """Load files with shift masks and position indices (the official ones) and files without, both strictly."""
        for module in self.modules():
            for name in DERIVED_BUFFERS:
                if name in module._buffers:
                    module.register_buffer(name, module._buffers[name], persistent=False)
        self.register_load_state_dict_pre_hook(_drop_derived_buffers)


def _drop_derived_buffers(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix) and key.rsplit(".", 1)[-1] in DERIVED_BUFFERS]:
        del state[key]


class QuantQKV(nn.Module):
    """The `qkv` linear of window attention as three quantized linears q, k and v.

    Args:
        qkv: the linear to split, (d -> 3 d).
        name: its dotted name.
        spec: the network's spec.
    """

    q: nn.Module
    k: nn.Module
    v: nn.Module

    def __init__(self, qkv: nn.Linear, name: str, spec: NetworkSpec) -> None:
        super().__init__()
        biases = [None] * len(PARTS) if qkv.bias is None else qkv.bias.detach().chunk(len(PARTS))
        for part, weight, bias in zip(PARTS, qkv.weight.detach().chunk(len(PARTS)), biases):
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
            linear.weight = nn.Parameter(weight.clone())
            if bias is not None:
                linear.bias = nn.Parameter(bias.clone())
            setattr(self, part, quantize_linear(linear, f"{name}.{part}", spec) or linear)
        self._share_samples()

    def _share_samples(self) -> None:
        """q, k and v see the same input: its values are gathered once where their domains are the same."""
        layers = [layer for layer in (self.q, self.k, self.v) if isinstance(layer, QuantLinear)]
        for other in layers[1:]:
            if other.input_quantizer.can_share_samples(layers[0].input_quantizer):
                other.input_quantizer.twin = (layers[0].input_quantizer,)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map windows (b, n, d) to q, k, v, each (b, n, d)."""
        return self.q(x), self.k(x), self.v(x)


class QuantWindowAttention(nn.Module):
    """BasicSR's `WindowAttention` with quantized linears and four quantized operands.

    Args:
        attention: the module to take over (its parameters are shared).
        name: its dotted name.
        spec: the network's spec.
    """

    relative_position_index: Tensor
    relative_position_bias_table: Tensor
    q_quantizer: Quantizer | None
    k_quantizer: Quantizer | None
    v_quantizer: Quantizer | None
    map_quantizer: Quantizer | None

    def __init__(self, attention: WindowAttention, name: str, spec: NetworkSpec) -> None:
        super().__init__()
        self.num_heads, self.scale = attention.num_heads, attention.scale
        self.relative_position_bias_table = cast(Tensor, attention.relative_position_bias_table)
        index = cast(Tensor, attention.relative_position_index)
        self.register_buffer("relative_position_index", index, persistent=False)
        self.qkv = QuantQKV(attention.qkv, f"{name}.qkv", spec)
        self.proj = quantize_linear(attention.proj, f"{name}.proj", spec) or attention.proj
        self.softmax, self.attn_drop, self.proj_drop = attention.softmax, attention.attn_drop, attention.proj_drop
        for operand in OPERANDS:
            chosen = spec.resolve("activation", name, f"{name}.{operand}")
            if chosen is not None and operand == "v":
                chosen = chosen.without_token_scale()
            quantizer = None if chosen is None else Quantizer(chosen, like=attention.qkv.weight)
            setattr(self, f"{operand}_quantizer", quantizer)

    def relative_position_bias(self) -> Tensor:
        """Return the bias (heads, n, n) added to q k^T, n tokens a window."""
        index = self.relative_position_index
        return self.relative_position_bias_table[index.view(-1)].view(*index.shape, -1).permute(2, 0, 1).contiguous()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend within windows.

        Args:
            x: (windows * b, n, c).
            mask: (windows, n, n) of 0 and -100 for shifted windows, or None.

        Returns:
            (windows * b, n, c).
        """
        b, n, c = x.shape
        q, k, v = (part.reshape(b, n, self.num_heads, c // self.num_heads).transpose(1, 2) for part in self.qkv(x))
        attention = product(q * self.scale, k, self.q_quantizer, self.k_quantizer)
        # In place: a product needs only its operands for backward, and the map is the largest tensor there is.
        attention += self.relative_position_bias()
        if mask is not None:
            windows = mask.shape[0]
            attention.view(b // windows, windows, self.num_heads, n, n).add_(mask.unsqueeze(1))
        attention = self.attn_drop(self.softmax(attention))
        # v keeps its transform along the channels of a head, as published: along tokens, the axis contracted
        # here, its mean would swallow the range (relative error 0.40 instead of 0.11 at 3 bits).
        x = weighted_sum(attention, v, self.map_quantizer, self.v_quantizer)
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(b, n, c)))


@register_adapter(WindowAttention)
def quantize_window_attention(module: nn.Module, name: str, spec: NetworkSpec) -> QuantWindowAttention | None:
    """Rule for BasicSR's window attention."""
    assert isinstance(module, WindowAttention)
    if has_computed_weight(module.qkv, f"{name}.qkv"):
        return None
    return QuantWindowAttention(module, name, spec)
