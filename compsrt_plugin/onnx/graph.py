"""`Graph`: an ONNX graph built node by node, with each constant stored once and codes in the narrowest type.

Torch's exporters are not used. Both freeze the values that BasicSR's SwinIR derives from the image size, and neither
can store a weight as integer codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from compsrt_plugin.onnx.tables import as_hadamard, as_sum
from compsrt_plugin.packed import pack_bits

SMALL = 16  # constants of fewer values are stored in float32
TABLE = 256  # index tables of fewer values are stored as they are
OPSET, IR_VERSION = 20, 9  # ONNX Runtime runs these from 1.17 on
NARROW_OPSET, NARROW_IR_VERSION = 21, 10  # the first opset with 4-bit types; its Cast needs ONNX Runtime 1.23
# (type, bits, signed), narrow to wide. Types narrower than a byte are packed, lowest bits first. ONNX has 2-bit types
# from opset 25 on, but OpenVINO 2026.4 refuses them.
CODE_TYPES = (
    (TensorProto.UINT4, 4, False),
    (TensorProto.INT4, 4, True),
    (TensorProto.UINT8, 8, False),
    (TensorProto.INT8, 8, True),
    (TensorProto.INT16, 16, True),
)
NARROW_TYPES = {kind for kind, bits, _ in CODE_TYPES if bits < 8}


class Graph:
    """An ONNX graph under construction; methods take and return names of values."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._known: dict[Any, str] = {}
        self._shapes: dict[str, list[int | str]] = {}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._copied: dict[Any, list[str]] = {}
        self._arrays: dict[str, np.ndarray] = {}  # what is known of the values of `copy`
        self._halves: dict[str, np.ndarray] = {}  # constants in float16, which are stored together

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the name of the output; an equal node is reused."""
        key = (kind, inputs, tuple(sorted((name, str(value)) for name, value in attributes.items())))
        if key not in self._known:
            self._known[key] = f"{kind}_{len(self._nodes)}"
            self._add(helper.make_node(kind, inputs, [self._known[key]], **attributes))
        return self._known[key]

    def split(self, value: str, sizes: list[int]) -> list[str]:
        """Return the parts of a value (n, …) that have these sizes along its first axis, in order."""
        if len(sizes) == 1:
            return [value]
        parts = [f"Split_{len(self._nodes)}_{k}" for k in range(len(sizes))]
        self._add(helper.make_node("Split", [value, self.integers(*sizes)], parts))
        return parts

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> list[str]:
        """Add a node of another graph with other inputs and return the names of its outputs.

        An equal node is reused. A node that only computes a small constant becomes that constant.
        """
        if node.op_type == "Identity":
            return inputs
        if all(name in self._arrays for name in inputs if name):
            found = evaluated(node, [self._arrays.get(name) for name in inputs])
            if node.op_type == "Constant" or all(array.size < SMALL for array in found):
                return [self.array(array, "constant") for array in found]
        attributes = tuple(attribute.SerializeToString() for attribute in node.attribute)
        key = (node.op_type, tuple(inputs), attributes, len(node.output))
        if key not in self._copied:
            added = onnx.NodeProto(op_type=node.op_type, input=inputs, attribute=node.attribute)
            added.output.extend(f"{node.op_type}_{len(self._nodes)}_{k}" for k in range(len(node.output)))
            self._add(added)
            self._copied[key] = list(added.output)
        return self._copied[key]

    def array(self, value: np.ndarray, name: str) -> str:
        """Store an array of any type and return its value; as `constant`, in fewer bytes where that loses nothing."""
        stored = self.constant(value, name) if value.dtype == np.float32 else self._whole_numbers(value, name)
        self._arrays[stored] = value
        return stored

    def _whole_numbers(self, array: np.ndarray, name: str) -> str:
        kind = np.uint8 if array.size and array.max() < 256 else np.uint16
        if array.size < SMALL or array.dtype not in (np.int32, np.int64) or array.min() < 0 or array.max() >= 1 << 16:
            return self._store(array, name)
        parts = as_sum(array) if array.size >= TABLE else None
        if parts is not None:
            total = self.op("Add", *(self._whole_numbers(part, name) for part in parts))
            return total if array.ndim == 2 else self.op("Reshape", total, self.integers(*array.shape))
        return self.op("Cast", self._store(array.astype(kind), name), to=helper.np_dtype_to_tensor_dtype(array.dtype))

    def plain(self, value: np.ndarray | np.generic, name: str) -> str:
        """Store an array as it is and return its name; equal ones are stored once."""
        return self._store(np.asarray(value, order="C"), name)

    def producer(self, value: str) -> onnx.NodeProto | None:
        """Return the node that computes a value; None for inputs and stored constants."""
        return self._producers.get(value)

    def shaped(self, value: str, *shape: int | str) -> str:
        """Declare the shape of a value that cannot be inferred, dynamic axes by name, and return the value.

        ONNX Runtime lets values of equal shape share memory. Without shapes it searches all candidates, which takes
        seconds for a network of this size.
        """
        self._shapes[value] = list(shape)
        return value

    def constant(self, value: Tensor | np.ndarray | list[float] | float, name: str = "constant") -> str:
        """Store a float or a tensor of any shape and return its float32 value; equal constants are stored once.

        It takes fewer bytes where that loses nothing: as a choice between two values, or in float16, in which packed
        files store what they do not quantize. These are stored together and split when the file is loaded: a node
        for each takes more bytes than most of them.
        """
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        array = np.ascontiguousarray(array, dtype=np.float32)
        if array.size < SMALL:
            return self._store(array, name)
        low, high = array.min(), array.max()
        if np.isin(array, (low, high)).all():  # not as INT8 and a scale: OpenVINO takes these for quantized operands
            choice = (self._store(np.asarray(value), "choice") for value in (high, low))
            return self.op("Where", self._choices(array == high, name), *choice)
        with np.errstate(over="ignore"):
            half = array.astype(np.float16)
        return self._half(half, name) if np.array_equal(half.astype(np.float32), array) else self._store(array, name)

    def _choices(self, chosen: np.ndarray, name: str) -> str:
        """Store a boolean array and return its value; equal ones are stored once."""
        key = ("choices", chosen.shape, chosen.tobytes())
        if key not in self._known:
            parts = as_hadamard(~chosen) if chosen.size >= TABLE else None
            self._known[key] = self._bytes_as_bool(chosen, name) if parts is None else self._signs(*parts, name)
        return self._known[key]

    def _bytes_as_bool(self, chosen: np.ndarray, name: str) -> str:
        stored = self._store(chosen.astype(np.uint8), name)  # 4-bit types would need a newer runtime
        return self.op("Cast", stored, to=TensorProto.BOOL)

    def _signs(self, outer: np.ndarray, inner: np.ndarray, row: np.ndarray, name: str) -> str:
        """Return where a matrix that `as_hadamard` took apart is not below 0."""
        whole = self.op("Xor", self._store(outer, name), self._store(inner, name))
        whole = self.op("Reshape", whole, self.integers(-1, outer.shape[0] * inner.shape[1]))
        columns = self.op("Slice", whole, self.integers(0), self.integers(len(row)), self.integers(1))
        return self.op("Xor", columns, self._store(~row, name))

    def _half(self, half: np.ndarray, name: str) -> str:
        key = ("half", half.shape, half.tobytes())
        if key not in self._known:
            self._known[key] = f"{name}_half_{len(self._halves)}"
            self._halves[self._known[key]] = half
        return self._known[key]

    def _pooled(self, needed: set[str]) -> list[onnx.NodeProto]:
        """Store constants in float16, those that differ in their first axis alone as one; return what decodes them."""
        pools: dict[tuple[int, ...], list[str]] = {}
        for name, half in self._halves.items():
            if name in needed:
                pools.setdefault(half.shape[1:], []).append(name)
        nodes = []
        for names in pools.values():
            arrays = [self._halves[name] for name in names]
            stored, whole = self._store(np.concatenate(arrays), "halves"), f"floats_{len(self._initializers)}"
            nodes.append(
                helper.make_node("Cast", [stored], [names[0] if len(names) == 1 else whole], to=TensorProto.FLOAT)
            )
            if len(names) > 1:
                sizes = self.integers(*(len(array) for array in arrays))
                nodes.append(helper.make_node("Split", [whole, sizes], names))
            needed.update(*(node.input for node in nodes))
        return nodes

    def integers(self, *values: int) -> str:
        """Store a list of int64, such as a shape or axes, and return its name."""
        return self._store(np.array(values, np.int64), "integers")

    def scalar(self, value: int) -> str:
        """Store one int64 without axes and return its name."""
        return self._store(np.array(value, np.int64), "scalar")

    def indices(self, values: Tensor) -> str:
        """Store indices of any shape and return their value as int32."""
        return self.array(values.cpu().numpy().astype(np.int32), "indices")

    def codes(self, values: Tensor, name: str) -> str:
        """Store integers of any shape in the narrowest type of `CODE_TYPES` that can represent them all.

        Raises:
            ValueError: more than 16 bits are needed.
        """
        kind, bits = narrowest(values)
        if bits < 8:
            data = pack_bits((values.long() % (1 << bits)).to(torch.uint8), bits).numpy().tobytes()
        else:
            data = values.cpu().numpy().astype(helper.tensor_dtype_to_np_dtype(kind)).tobytes()
        unique = f"{name}_{len(self._initializers)}"
        self._initializers.append(helper.make_tensor(unique, kind, list(values.shape), data, raw=True))
        return unique

    def model(
        self, inputs: dict[str, list[Any]], outputs: dict[str, tuple[str, list[Any]]], about: dict[str, str]
    ) -> onnx.ModelProto:
        """Return the `ModelProto`.

        Args:
            inputs: name -> shape, its dynamic axes by name; 32-bit floats.
            outputs: name -> (value, shape).
            about: metadata, key -> text.
        """
        needed = {value for value, _ in outputs.values()}
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        used = [node for node in self._nodes if needed.intersection(node.output)]
        nodes = [
            *self._pooled(needed),
            *used,
            *(helper.make_node("Identity", [value], [n]) for n, (value, _) in outputs.items()),
        ]
        stored = [initializer for initializer in self._initializers if initializer.name in needed]
        narrow = any(initializer.data_type in NARROW_TYPES for initializer in stored)
        graph = helper.make_graph(
            nodes,
            "CompSRT",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, (_, shape) in outputs.items()],
            stored,
            value_info=[
                helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)
                for value, shape in self._shapes.items()
                if value in needed
            ],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", NARROW_OPSET if narrow else OPSET)],
            ir_version=NARROW_IR_VERSION if narrow else IR_VERSION,
            producer_name="compsrt_plugin",
        )
        helper.set_model_props(model, about)
        return model

    def _add(self, node: onnx.NodeProto) -> None:
        self._nodes.append(node)
        self._producers.update(dict.fromkeys(node.output, node))

    def _store(self, array: np.ndarray, name: str) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{name}_{len(self._initializers)}"
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            stored = helper.make_tensor(self._known[key], kind, array.shape, array.tobytes(), raw=True)
            self._initializers.append(stored)
        return self._known[key]


def narrowest(values: Tensor) -> tuple[int, int]:
    """Return the first of `CODE_TYPES` that can represent whole numbers of any shape, and its bits.

    Raises:
        ValueError: more than 16 bits are needed.
    """
    low, high = int(values.min()), int(values.max())
    for kind, bits, signed in CODE_TYPES:
        bottom = -(1 << bits - 1) if signed else 0
        if bottom <= low and high < bottom + (1 << bits):
            return kind, bits
    raise ValueError(f"codes from {low} to {high} need more than 16 bits")


def evaluated(node: onnx.NodeProto, arrays: list[np.ndarray | None]) -> list[np.ndarray]:
    """Return what a node computes of constants."""
    feeds = {name: array for name, array in zip(node.input, arrays) if array is not None}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    model = helper.make_model(
        helper.make_graph([node], "node", inputs, outputs), opset_imports=[helper.make_opsetid("", NARROW_OPSET)]
    )
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, feeds)]
