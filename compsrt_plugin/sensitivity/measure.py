"""Each activation quantized alone, and how far the output moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compsrt_plugin.data import embedded_pairs
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.prepare import centre_piece
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import pad_to_windows
from compsrt_plugin.packed_network import PackedNetwork
from compsrt_plugin.quant import Mode, activation_quantizers
from compsrt_plugin.quant.surgery import evaluating

PIECE = 32  # low-resolution pixels of a side; the network runs on all pieces once for each activation

Progress = Callable[[list[str]], Iterable[str]]
"""Wraps a list of names, as `tqdm` does."""


@dataclass(frozen=True)
class Activation:
    """What quantizing one activation alone does to the output.

    Attributes:
        name: of its quantizer, as in overrides.
        bits: at which it was quantized.
        error: mean squared change of the output, whose range is 0..1.
    """

    name: str
    bits: int
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """What was measured.

    Attributes:
        activations: by falling error.
        together: mean squared change of the output when all are quantized at once.
        pictures: what it was measured on, in words.
    """

    activations: tuple[Activation, ...]
    together: float
    pictures: str

    @property
    def total(self) -> float:
        """Sum of the errors: about `together`, since small changes nearly add up."""
        return sum(one.error for one in self.activations)


def measure(network: nn.Module, lq: Tensor, pictures: str, progress: Progress = iter) -> Sensitivity:
    """Quantize each activation alone, and compare the output with that of no activation quantized.

    Weights stay as they are. An activation's share of the total is about what the output wins if it gets enough bits.

    Args:
        network: a calibrated or packed network; its quantizers' modes are left as they were.
        lq: (b, 3, h, w) in 0..1, h and w fit for the network.
        pictures: what `lq` is, in words.
        progress: wraps the list of names.

    Returns:
        Errors in squared units of the output. Ours: no paper measures it so.
    """
    quantizers = activation_quantizers(network)
    before = {name: quantizer.mode for name, quantizer in quantizers.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads bring little here, and wait long for each other where a core is busy

    def output(on: set[str]) -> Tensor:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.ON if name in on else Mode.OFF
        return network(lq)

    try:
        with evaluating(network), torch.no_grad():
            exact = output(set())

            def error(on: set[str]) -> float:
                return float((output(on) - exact).double().square().mean())

            found = [Activation(name, quantizers[name].spec.bits, error({name})) for name in progress([*quantizers])]
            together = error(set(quantizers))
    finally:
        for name, quantizer in quantizers.items():
            quantizer.mode = before[name]
        torch.set_num_threads(threads)
    return Sensitivity(tuple(sorted(found, key=lambda one: -one.error)), together, pictures)


def measure_embedded(source: PackedNetwork, progress: Progress = iter) -> Sensitivity:
    """Measure a packed network on the centres of the embedded held-out pictures.

    Args:
        source: the network, quantizers on.
        progress: as of `measure`.

    Raises:
        CompSRTError: it has no quantized activations.
    """
    if not activation_quantizers(source.network):
        raise CompSRTError(
            f"{source.path} has no quantized activations", allowed="a network with quantized linear layers or attention"
        )
    _, folder = embedded_pairs("calibration", source.header.scale, "holdout")
    pieces = [centre_piece(read_image(file), PIECE) for file in sorted(folder.iterdir())]
    lq = torch.stack([torch.from_numpy(piece[..., ::-1].copy()).permute(2, 0, 1).float() / 255 for piece in pieces])
    lq = pad_to_windows(lq, int(getattr(source.network, "window_size", 1)), "reflect")
    pictures = f"{len(pieces)} embedded pictures, {PIECE} x {PIECE} low-resolution pixels of each"
    return measure(source.network, lq, pictures, progress)
