"""Save the state of a quantized network to a packed file and load it back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.format import Packed, write_packed
from compsrt_plugin.quant import Mode, QuantizedLayer, freeze, named_quantizers, quantized_layers, set_mode

POSITION_TABLE = "relative_position_bias_table"
# On held-out images this rounding changes nothing (`benchmarks/rounding.py`, `docs/notes/packed_file.md`).
TABLE_BITS, VECTOR_BITS = 5, 9


def round_unquantized(network: nn.Module) -> None:
    """Round unquantized parameters to half precision in place, so that the file holds them in 16 bits.

    Relative position tables are rounded further, to 5 bits per head (`round_table`), which compresses to a quarter of
    the bytes. Biases and norms are rounded to 9 significant bits. Of the quantizers, only the bounds and scales of
    per-channel weights are rounded, because they are many; codes are computed afterwards with the rounded values.
    Weights that are or will be codes do not change.
    """
    many = {
        id(parameter)
        for _, layer in quantized_layers(network)
        if layer.weight_quantizer.spec.granularity == "per_channel" and not layer.frozen
        for parameter in layer.weight_quantizer.parameters()
    }
    kept = {id(p) for _, q in named_quantizers(network) for p in q.parameters()}
    kept |= {id(layer.weight) for _, layer in quantized_layers(network)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(POSITION_TABLE):
                parameter.copy_(round_table(parameter))
            elif parameter.ndim == 1 and id(parameter) not in kept:
                parameter.copy_(round_mantissa(parameter, VECTOR_BITS))
            if id(parameter) not in kept or id(parameter) in many:
                parameter.copy_(parameter.half())


def round_table(table: Tensor, bits: int = TABLE_BITS) -> Tensor:
    """Return a table (entries, heads) rounded to multiples of a power of two, at most 2^bits values per head.

    Half precision holds such numbers exactly, and their low zero bits compress well.
    """
    span = table.amax(0) - table.amin(0)
    step = torch.exp2(torch.ceil(torch.log2(span / (2**bits - 1))))
    return torch.where(span > 0, torch.round(table / step) * step, table)


def round_mantissa(values: Tensor, bits: int) -> Tensor:
    """Return values rounded to `bits` significant binary digits, at most the 11 of half precision."""
    fraction, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(fraction * 2**bits), exponent - bits).half().to(values.dtype)


def save_network(path: str | Path, network: nn.Module, header: Mapping[str, Any]) -> int:
    """Freeze the network in place, write it as a packed file, and return the bytes on disk.

    Tensors that half precision holds exactly take 16 bits, others 32, so the file is lossless.

    Args:
        path: the file, written atomically.
        network: a calibrated network with its quantizers on.
        header: `arch`, `spec`, `provenance`.

    Returns:
        Bytes on disk.

    Raises:
        CompSRTError: the file cannot be written.
    """
    freeze(network)
    repeated = tuple(f"{name}." for name in _other_places(network))
    code_bits = {f"{name}.weight_codes": layer.stored_bits() for name, layer in quantized_layers(network)}
    state = {
        name: _smallest(value.detach().cpu())
        for name, value in network.state_dict().items()
        if not name.startswith(repeated)
    }
    return write_packed(path, state, code_bits, dict(header), masks_of(network))


def masks_of(network: nn.Module) -> dict[str, str]:
    """Return name of codes -> name of mask for each pruned layer, as `write_packed` takes them."""
    return {
        f"{name}.weight_codes": f"{name}.weight_mask"
        for name, layer in quantized_layers(network)
        if layer.weight_mask is not None
    }


def _other_places(network: nn.Module) -> dict[str, str]:
    """Return further name -> first name for quantized layers that are used in several places. Files have the first."""
    first: dict[nn.Module, str] = {}
    places = network.named_modules(remove_duplicate=False)
    names = {name: first.setdefault(module, name) for name, module in places if isinstance(module, QuantizedLayer)}
    return {name: other for name, other in names.items() if name != other}


def _smallest(value: Tensor) -> Tensor:
    if value.dtype is torch.float32:
        half = value.half()
        if torch.equal(half.float(), value):
            return half
    return value


def load_packed_state(network: nn.Module, packed: Packed, source: str | Path) -> None:
    """Load the contents of a packed file into a converted network. Its weights become codes, its quantizers are on.

    Args:
        network: built from the file's `arch` and `spec`.
        packed: from `read_packed`.
        source: the file, for messages.

    Raises:
        CompSRTError: the contents do not fit the network that the header describes.
    """
    for name, layer in quantized_layers(network):
        layer.prepare_frozen(
            has_offset=f"{name}.weight_offset" in packed.state, has_mask=f"{name}.weight_mask" in packed.state
        )
    others = _other_places(network)
    repeated = tuple(f"{name}." for name in others)
    expected = {name: value for name, value in network.state_dict().items() if not name.startswith(repeated)}
    missing, extra = expected.keys() - packed.state.keys(), packed.state.keys() - expected.keys()
    wrong = [name for name in expected.keys() & packed.state.keys() if expected[name].shape != packed.state[name].shape]
    if missing or extra or wrong:
        first = min([*missing, *extra, *wrong])
        raise CompSRTError(
            f"{source}: its contents do not fit the network in its header "
            f"({len(missing)} tensors missing, {len(extra)} unknown, {len(wrong)} of another shape; first: {first})",
            hint="make the file again with basicsr train",
        )
    odd = [
        name
        for name, value in packed.state.items()
        if value.is_floating_point() != expected[name].is_floating_point() or not value.isfinite().all()
    ]
    if odd:
        raise CompSRTError(
            f"{source}: {len(odd)} of its tensors hold NaN, infinity or the wrong kind of number (first: {min(odd)})",
            hint="make the file again with basicsr train",
        )
    state = {name: value.to(expected[name].dtype) for name, value in packed.state.items()}
    for name, first in others.items():
        state |= {name + k.removeprefix(first): v for k, v in state.items() if k.startswith(f"{first}.")}
    network.load_state_dict(state)
    set_mode(network, Mode.ON)
