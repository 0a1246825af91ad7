"""`calibrate`: search the bounds of every quantizer; `distinct_codes`: count the codes that are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future

import torch
from torch import Tensor, nn

from compsrt_plugin.devices import forward
from compsrt_plugin.errors import CompSRTError, unknown_name
from compsrt_plugin.quant.bounds.rows import search_rows
from compsrt_plugin.quant.bounds.samples import Samples
from compsrt_plugin.quant.bounds.search import BOUND_SEARCHES
from compsrt_plugin.quant.modes import evaluating
from compsrt_plugin.quant.network import activation_quantizers, named_quantizers, quantized_layers, set_mode
from compsrt_plugin.quant.quantized_layer import QuantizedLayer
from compsrt_plugin.quant.quantizer import Mode, Quantizer, distinct_values
from compsrt_plugin.threads import executor

Bound = float | Tensor
MOST_AT_ONCE = 4  # batches in flight while observing; each needs the memory of one forward pass


def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Search the bounds of every quantizer and switch the quantizers on.

    The network runs over the batches in full precision (eval mode, no gradients) while each activation quantizer
    gathers its values in bounded memory. Then the bound search of each spec, such as 2DQuant's DOBI (arXiv 2406.06649),
    chooses (l, u) in the domain in which the tensor is quantized.

    Args:
        network: a network from `convert`, not frozen.
        batches: inputs of the network, one forward pass each; not read if weights alone are quantized.

    Raises:
        CompSRTError: there is no batch, a batch is not an input, a search is unknown, values of a layer are not
            finite, or the network is not converted or is frozen. After an error bounds and modes are as before.
    """
    activations = activation_quantizers(network)
    _check(network)
    before = [(quantizer, quantizer.mode) for _, quantizer in named_quantizers(network)]
    try:
        if activations:
            with evaluating(network):
                observe(network, batches)
        found = _search(network, activations)
    except BaseException:
        for quantizer, mode in before:
            quantizer.mode = mode
        raise
    finally:
        for quantizer in activations.values():
            quantizer.samples = None
    for _, layer in quantized_layers(network):
        layer.weight_shift = None
    for quantizer, bounds in found.items():
        quantizer.set_bounds(*bounds)
    set_mode(network, Mode.ON)


def _check(network: nn.Module) -> None:
    quantizers = dict(named_quantizers(network))
    if not quantizers:
        raise CompSRTError(
            f"{type(network).__name__} has no quantizers", hint="convert it first: convert(network, spec)"
        )
    for name, quantizer in quantizers.items():
        if quantizer.spec.search not in BOUND_SEARCHES:
            raise unknown_name(f"bound search for {name}", quantizer.spec.search, BOUND_SEARCHES)
    for name, layer in quantized_layers(network):
        if layer.frozen:
            raise CompSRTError(f"the weight of {name} is frozen to codes", allowed="a network that is not frozen")


def _search(network: nn.Module, activations: Mapping[str, Quantizer]) -> dict[Quantizer, tuple[Bound, Bound]]:
    """Return the bounds of every quantizer; set nothing, so that an error changes nothing."""
    bounds: dict[Quantizer, tuple[Bound, Bound]] = {}
    searched: dict[tuple[Samples, str, int], tuple[float, float]] = {}  # q, k and v share their samples
    with torch.no_grad():
        for _, layer in quantized_layers(network):
            bounds[layer.weight_quantizer] = weight_bounds(layer)
        for name, quantizer in activations.items():
            samples, search, bits = gathered(name, quantizer), quantizer.spec.search, quantizer.spec.bits
            if (samples, search, bits) not in searched:
                searched[samples, search, bits] = BOUND_SEARCHES[search](samples, bits)
            bounds[quantizer] = searched[samples, search, bits]
    return bounds


def observe(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Run the network in full precision over the batches and gather the `samples` of each activation quantizer.

    The caller removes the samples and restores the modes.
    """
    activations = activation_quantizers(network)
    set_mode(network, Mode.OFF)
    for quantizer in activations.values():
        quantizer.mode = Mode.OBSERVE
        quantizer.samples = Samples() if quantizer.twin is None else None
    seen = 0
    for _ in _run_side_by_side(network, batches):
        seen += 1
    if not seen:
        raise CompSRTError("no calibration batch was given", hint="give at least one input")


def _run_side_by_side(network: nn.Module, batches: Iterable[Tensor]) -> Iterator[None]:
    """Run the network over the batches, on CPUs one batch per core, since counting values uses one thread only.

    The samples do not depend on the order of the batches (see `Samples`).
    """
    threads = torch.get_num_threads()
    on_cpu = all(p.device.type == "cpu" for p in network.parameters())
    workers = min(threads, MOST_AT_ONCE) if on_cpu else 1

    def run(batch: Tensor) -> None:
        with torch.no_grad():  # set per thread
            forward(network, batch)

    torch.set_num_threads(max(1, threads // workers))
    try:
        with executor(workers) as pool:
            running: deque[Future[None]] = deque()
            for batch in batches:
                running.append(pool.submit(run, batch))
                if len(running) > workers:  # so that memory does not grow with the number of batches
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
    finally:
        torch.set_num_threads(threads)


def gathered(name: str, quantizer: Quantizer) -> Samples:
    """Return the samples that `observe` gathered for the quantizer called `name`.

    Raises:
        CompSRTError: no value reached the quantizer.
    """
    samples = quantizer.sampler.samples
    if samples is None or samples.count == 0:
        raise CompSRTError(f"no value reached the quantizer {name!r} during calibration")
    return samples


def weight_bounds(layer: QuantizedLayer) -> tuple[Tensor, Tensor]:
    """Return (l, u) of the weight of a layer in its domain, searched over the weights that are not pruned.

    Returns:
        lower, upper: shape of the quantizer's bounds, () or (rows, 1).

    Raises:
        CompSRTError: the weight holds NaN or infinity; the message names the quantizer.
    """
    quantizer = layer.weight_quantizer
    matrix, mask = quantizer.transform(layer.weight_matrix()), layer.weight_mask
    if quantizer.spec.granularity == "per_tensor":
        matrix, mask = matrix.view(1, -1), None if mask is None else mask.view(1, -1)
    try:
        lower, upper = search_rows(matrix, quantizer.spec.search, quantizer.spec.bits, mask)
    except ValueError as error:
        raise CompSRTError(f"calibration, {quantizer.name}: {error}", hint="take other weights") from error
    return lower.view_as(quantizer.lower), upper.view_as(quantizer.upper)


def distinct_codes(network: nn.Module, batches: Iterable[Tensor] = ()) -> dict[str, int]:
    """Return the number of distinct codes that each quantizer uses.

    Args:
        network: a calibrated or frozen network, quantizers on.
        batches: inputs on which the codes of activations are counted; weights need none.

    Returns:
        Quantizer name -> number of distinct codes; for a per-channel weight the largest number in one row.
    """
    activations = activation_quantizers(network)
    try:
        for quantizer in activations.values():
            quantizer.codes_seen = set()
        with torch.no_grad(), evaluating(network):
            for batch in batches:
                forward(network, batch)
            counts = {f"{name}.weight": _distinct_weight_codes(layer) for name, layer in quantized_layers(network)}
        return counts | {name: len(quantizer.codes_seen or ()) for name, quantizer in activations.items()}
    finally:
        for quantizer in activations.values():
            quantizer.codes_seen = None


def _distinct_weight_codes(layer: QuantizedLayer) -> int:
    quantizer = layer.weight_quantizer
    codes = layer.weight_codes
    if codes is None:
        codes = quantizer.codes(layer.transformed_matrix())
    if quantizer.spec.granularity == "per_channel":
        return max(len(distinct_values(row)) for row in codes)
    return len(distinct_values(codes))
