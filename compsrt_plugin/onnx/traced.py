"""Write any network as an ONNX graph: torch traces it, and the trace is rewritten with weights as codes.

The trace is taken at sides that nothing in a network is made for, so that code which treats one size specially, such as
a stored mask, takes its general path. What is still fixed shows when ONNX Runtime runs the graph at other sizes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.onnx.graph import Graph
from compsrt_plugin.onnx.size_values import equal_values
from compsrt_plugin.onnx.weights import WeightWriter
from compsrt_plugin.onnx.windows import crop, reflect_to_windows
from compsrt_plugin.packed.dense import parameter_name
from compsrt_plugin.packed.open import PackedNetwork, decoded_network
from compsrt_plugin.quant import QuantizedLayer, quantized_layers

TRACED_OPSET = 20  # the last that torch's tracing exporter writes; its operators mean the same in the graph's opset
TRACED_SIZE = (48, 80)
SIZES = ((48, 80), (1, 1), (61, 32), (32, 47), (25, 64))  # at which values that follow from the size are compared
OTHER_SIZES = ((64, 64), (32, 56), (1, 1), (41, 35))
LARGEST_ERROR = 1e-3  # of the image's range; a mask of another size changes far more
IMAGE = "image"  # name of the trace's input


def traced_model(source: PackedNetwork, about: dict[str, str], names: tuple[str, str], weights: WeightWriter) -> Any:
    """Return the `onnx.ModelProto` of any network, without activation quantizers.

    Input and output are (1, channels, height, width). Height and width can be any number from 1: the graph pads by
    reflection to a size that the network takes, and crops the result.

    Args:
        source: a packed file of a `CompSRTNet`.
        about: metadata, key -> text.
        names: of input and output.
        weights: writes the weights of quantized layers.

    Raises:
        CompSRTError: torch cannot trace the network, or the trace fits one size only.
    """
    network: Any = decoded_network(source)
    rule, channels, scale = network.size_rule, network.channels, network.scale
    inner = network.base[0]
    image = _noise(channels, rule.fit(*TRACED_SIZE))
    layers = {parameter_name(name, layer): (name, layer) for name, layer in quantized_layers(source.network)}
    trace = _trace(inner, image)
    output = trace.graph.output[0].name
    whole = Graph()
    values = _rewritten(trace, whole, IMAGE, layers, weights)
    model = whole.model({IMAGE: [1, channels, "height", "width"]}, {output: (values[output], [None] * 4)}, {})
    equal, fixed = equal_values(model, IMAGE, [_noise(channels, rule.fit(*size)).numpy() for size in SIZES])
    graph = Graph()
    padded, before, _ = reflect_to_windows(graph, names[0], rule.multiple_of, rule.minimum, rule.square)
    known = {name: graph.array(array, "constant") for name, array in fixed.items()}
    merged = {name: equal.get(value, value) for name, value in values.items()}
    output = _rewritten(trace, graph, padded, layers, weights, merged, known)[output]
    model = graph.model(
        {names[0]: [1, channels, "height", "width"]},
        {names[1]: (crop(graph, output, before, scale), [1, channels, f"{scale}*height", f"{scale}*width"])},
        about,
    )
    _check_sizes(model, network)
    return model


def _trace(network: nn.Module, image: Tensor) -> onnx.ModelProto:
    buffer, level = io.BytesIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    options: dict[str, Any] = {
        "input_names": [IMAGE],
        "opset_version": TRACED_OPSET,
        "dynamo": False,  # torch.export asks code for one branch for all sizes, and takes minutes
        "do_constant_folding": False,  # keeps the names of parameters
        "dynamic_axes": {IMAGE: {2: "height", 3: "width"}},
    }
    try:
        with warnings.catch_warnings(), _silent(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(network, (image,), buffer, **options)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # foreign code may raise anything in a trace
        said = (str(error).strip().split("\n")[0] or type(error).__name__)[:160]
        raise CompSRTError(
            f"torch cannot write {type(network).__name__} as ONNX ({said})",
            hint="`basicsr export --dense` writes its weights for other tools",
        ) from error
    finally:
        logging.disable(level)
    return onnx.load_from_string(buffer.getvalue())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide what torch prints: on a failure, the whole graph."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _rewritten(
    trace: onnx.ModelProto,
    graph: Graph,
    image: str,
    layers: Mapping[str, tuple[str, QuantizedLayer]],
    weights: WeightWriter,
    merged: Mapping[str, str] | None = None,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write the nodes of a trace, equal ones once and constant ones as constants.

    Args:
        trace: what torch wrote.
        graph: to write to.
        image: its input.
        layers: name of a weight -> name and layer.
        weights: writes the weights of layers.
        merged: value of the trace -> a name that all values share that are equal; None takes none for equal.
        known: such a name -> what stands for its values in the graph; values that are written are added to it.

    Returns:
        Value of the trace -> value of the graph.
    """
    values, written = {"": "", IMAGE: image}, dict(known or {})
    for stored in trace.graph.initializer:
        if stored.name in layers:
            name, layer = layers[stored.name]
            values[stored.name] = weights(graph, layer, name)
        else:
            values[stored.name] = graph.array(numpy_helper.to_array(stored), stored.name)
    for node in trace.graph.node:
        if node.op_type == "Transpose":  # `movedim` is written with axes counted from the end, which ONNX forbids
            axes = node.attribute[0].ints
            axes[:] = [axis % len(axes) for axis in axes]
        same = [name if merged is None else merged[name] for name in node.output]
        if not all(name in written for name in same):
            outputs = graph.copy(node, [values[name] for name in node.input])
            written.update(zip(same, outputs, strict=True))
        values.update((name, written[other]) for name, other in zip(node.output, same, strict=True))
    return values


def _check_sizes(model: onnx.ModelProto, network: Any) -> None:
    """Refuse a graph that computes something else than the network at sizes other than that of the trace."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a failure is reported below
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    height, width = network.size_rule.fit(*TRACED_SIZE)
    for size in OTHER_SIZES:
        image = _noise(network.channels, network.size_rule.fit(*size))
        with torch.no_grad():
            expected = network(image)
        try:
            (found,) = session.run(None, {model.graph.input[0].name: image.numpy()})
        except Exception:  # of ONNX Runtime, not a subclass that it documents
            found = None
        if found is None or not torch.allclose(torch.from_numpy(found), expected, rtol=0, atol=LARGEST_ERROR):
            raise CompSRTError(
                f"an ONNX file of {type(network.base[0]).__name__} would be right at {height} x {width} pixels only: "
                "its code fixes what it derives from the image's size",
                hint="`basicsr export --dense` writes its weights for other tools",
            )


def _noise(channels: int, size: tuple[int, int]) -> torch.Tensor:
    """Return an image (1, channels, height, width) of values in 0 to 1, the same at every call."""
    seeded = torch.Generator("cpu").manual_seed(0)
    return torch.rand((1, channels, *size), generator=seeded, device="cpu", dtype=torch.float32)
