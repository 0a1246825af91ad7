"""Measure or estimate how much the output changes if a single activation is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compsrt_plugin.analysis.sensitivity.replay import Replay
from compsrt_plugin.data import embedded_pairs
from compsrt_plugin.data.images import read_image
from compsrt_plugin.data.low_resolution import centre_piece
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import pad_to_windows
from compsrt_plugin.packed.open import PackedNetwork
from compsrt_plugin.quant import Mode, activation_quantizers
from compsrt_plugin.quant.modes import evaluating
from compsrt_plugin.quant.sensitivity import output_errors
from compsrt_plugin.terminal import TrackProgress

PIECE = 32  # low-resolution pixels of a side; `measure_errors` runs the network on all pieces once for each activation


@dataclass(frozen=True)
class Activation:
    """The effect of quantizing one activation alone.

    Attributes:
        name: name of its quantizer, as in overrides.
        bits: its code width.
        error: mean squared change of the output, whose range is 0..1.
    """

    name: str
    bits: int
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """The effects of all activations.

    Attributes:
        activations: by falling error.
        together: mean squared change of the output if all are quantized; always measured.
        images: description of the images.
        exact: whether the errors of single activations are measured. If not, they are estimated.
    """

    activations: tuple[Activation, ...]
    together: float
    images: str
    exact: bool

    @property
    def total(self) -> float:
        """Sum of the errors, about equal to `together`, because small changes nearly add up."""
        return sum(one.error for one in self.activations)


def measure_errors(network: nn.Module, lq: Tensor, images: str, progress: TrackProgress = iter) -> Sensitivity:
    """Return the error of each activation, measured by quantizing it alone.

    The reference is the output without quantized activations. Weights do not change. The share of an activation in the
    total is about the gain of the output if that activation gets enough bits.

    Args:
        network: a calibrated or packed network. The modes of its quantizers are restored.
        lq: (b, 3, h, w) in 0..1, with h and w multiples of the window.
        images: description of `lq`.
        progress: wraps the list of names.

    Returns:
        Errors in squared units of the output. This measure is our own.
    """
    with _error_of(network, lq) as error:
        names = [*activation_quantizers(network)]
        found = {name: error(name) for name in progress(names)}
        return _sorted(network, found, error(*names), images, exact=True)


def estimate_errors(network: nn.Module, lq: Tensor, images: str, progress: TrackProgress = iter) -> Sensitivity:
    """Return estimates of what `measure_errors` measures, in seconds, from gradients of random projections.

    Args and Returns:
        See `measure_errors`. `progress` wraps the list of images. `quant.sensitivity.output_errors` is the estimator.
    """
    found = output_errors(network, progress([*lq.split(1)]))
    with _error_of(network, lq) as error:
        return _sorted(network, found, error(*found), images, exact=False)


def on_embedded(source: PackedNetwork, exact: bool = False, progress: TrackProgress = iter) -> Sensitivity:
    """Return the sensitivity of a packed network on the centres of the embedded held-out images.

    Args:
        source: the network, with quantizers on.
        exact: whether to `measure_errors`, one activation at a time; else to `estimate_errors`.
        progress: as of either.

    Raises:
        CompSRTError: the network has no quantized activations.
    """
    if not activation_quantizers(source.network):
        raise CompSRTError(
            f"{source.path} has no quantized activations", allowed="a network with quantized linear layers or attention"
        )
    lq, images = embedded_pieces(source)
    return (measure_errors if exact else estimate_errors)(source.network, lq, images, progress)


def embedded_pieces(source: PackedNetwork, most: int | None = None) -> tuple[Tensor, str]:
    """Return the centres (b, 3, h, w) in 0..1 of up to `most` embedded held-out images, and a description."""
    _, folder = embedded_pairs("calibration", source.header.scale, "holdout")
    pieces = [centre_piece(read_image(file), PIECE) for file in sorted(folder.iterdir())[:most]]
    lq = torch.stack([torch.from_numpy(piece[..., ::-1].copy()).permute(2, 0, 1).float() / 255 for piece in pieces])
    lq = pad_to_windows(lq, int(getattr(source.network, "window_size", 1)), "reflect")
    return lq, f"{len(pieces)} embedded images, {PIECE} x {PIECE} low-resolution pixels of each"


@contextmanager
def _error_of(network: nn.Module, lq: Tensor) -> Iterator[Callable[..., float]]:
    """Provide a function: names of activations -> mean squared change of the output if only these are quantized."""
    quantizers = activation_quantizers(network)
    before = {name: quantizer.mode for name, quantizer in quantizers.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads gain little here, and wait for each other on a busy machine
    replay = Replay(network)

    def switch(*on: str) -> None:
        for name, quantizer in quantizers.items():
            quantizer.mode = Mode.ON if name in on else Mode.OFF

    def error(*on: str) -> float:
        switch(*on)
        with replay.up_to(on[0]) if len(on) == 1 else nullcontext():
            return float((network(lq) - exact).double().square().mean())

    try:
        with evaluating(network), torch.no_grad():
            switch()
            with replay.recording():
                exact = network(lq)
            yield error
    finally:
        for name, quantizer in quantizers.items():
            quantizer.mode = before[name]
        torch.set_num_threads(threads)


def _sorted(network: nn.Module, errors: dict[str, float], together: float, images: str, exact: bool) -> Sensitivity:
    bits = {name: quantizer.spec.bits for name, quantizer in activation_quantizers(network).items()}
    found = sorted((Activation(name, bits[name], error) for name, error in errors.items()), key=lambda one: -one.error)
    return Sensitivity(tuple(found), together, images, exact)
