"""Fewer bytes for the nodes of a graph: short names, and no attribute that says what holds without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from string import ascii_letters, digits
from typing import Any

import onnx
from onnx import helper

from compsrt_plugin.onnx.graph import NARROW_OPSET

LETTERS = ascii_letters + digits
CODES = ".codes"  # in the names of constants
LARGE = 1024  # bytes of constants that keep their names
NAMED = ("Gather", "Slice")  # ONNX Runtime 1.19 names what it fuses after the first, and refuses equal names
ONES = {"Conv": ("strides", "dilations")}  # attributes that are all ones by default, which schemas do not tell


def compact(model: Any) -> None:
    """Shorten a finished `onnx.ModelProto` in place; weights keep the names of their layers."""
    graph, opset = model.graph, model.opset_import[0].version
    for node in graph.node:
        schema = onnx.defs.get_schema(node.op_type, opset)
        kept = [one for one in node.attribute if not _is_default(node.op_type, one, schema)]
        del node.attribute[:]
        node.attribute.extend(kept)
    weights = [s.name for s in graph.initializer if CODES in s.name or len(s.raw_data) >= LARGE]
    _rename(graph, [*weights, *(value.name for value in [*graph.input, *graph.output])])
    for node in graph.node if opset < NARROW_OPSET else ():
        if node.op_type in NAMED:
            node.name = node.output[0]


def _is_default(operator: str, attribute: Any, schema: Any) -> bool:
    value = helper.get_attribute_value(attribute)
    if attribute.name in ONES.get(operator, ()):
        return all(one == 1 for one in value)
    if operator == "Conv" and attribute.name in ("kernel_shape", "pads"):
        return attribute.name == "kernel_shape" or not any(value)
    default = schema.attributes[attribute.name].default_value
    return default.type == attribute.type and helper.get_attribute_value(default) == value


def _rename(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    """Give short names to all values of a graph except these."""
    kept = {"", *names}
    free = (name for name in _short_names() if name not in kept)
    short = dict(zip(kept, kept))

    def named(value: str) -> str:
        if value not in short:
            short[value] = next(free)
        return short[value]

    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [named(value) for value in values]
    for stored in [*graph.initializer, *graph.value_info]:
        stored.name = named(stored.name)


def _short_names() -> Iterator[str]:
    for number in count():
        name = ""
        while True:
            number, digit = divmod(number, len(LETTERS) if name else len(ascii_letters))
            name += LETTERS[digit]
            if not number:
                break
            number -= 1
        yield name
