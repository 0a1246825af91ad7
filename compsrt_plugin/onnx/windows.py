"""Padding, windows and shift masks, computed in the graph because they depend on the image size.

A window is a row of token numbers. The numbers 0 … h w - 1 in the layout of the image are rolled and cut into windows
once. Each block then gets its windows from the tokens, and the tokens from its windows, by one Gather each.
"""

from __future__ import annotations

from dataclasses import dataclass

from compsrt_plugin.onnx.graph import Graph

MASKED = -100.0  # the value of SwinIR; its softmax is 0 in practice


@dataclass(frozen=True)
class Size:
    """Height and width of an image as values of the graph.

    Attributes:
        height, width: names of int64 values without axes.
    """

    height: str
    width: str


def reflect_to_windows(
    graph: Graph, image: str, window: int, minimum: int = 1, square: bool = False
) -> tuple[str, Size, Size]:
    """Pad the image (b, c, h, w), h, w >= 1, at the bottom and right to whole windows by reflection.

    Args:
        graph: in which to compute.
        image: name of the image.
        window: sides become multiples of it,
        minimum: at least this,
        square: and equal.

    Returns:
        The padded image, and its size before and after.
    """
    before, after = [], []
    for axis in (2, 3):
        side = graph.op("Squeeze", graph.op("Shape", image, start=axis, end=axis + 1))
        before.append(side)
        if minimum > 1:
            side = graph.op("Max", side, graph.scalar(minimum))
        whole = graph.op("Div", graph.op("Add", side, graph.scalar(window - 1)), graph.scalar(window))
        after.append(graph.op("Mul", whole, graph.scalar(window)))
    if square:
        after = [graph.op("Max", *after)] * 2
    for axis, side, target in zip((2, 3), before, after):
        image = graph.op("Gather", image, _mirrored(graph, side, target), axis=axis)
    return image, Size(*before), Size(*after)


def _mirrored(graph: Graph, side: str, target: str) -> str:
    """Return `target` indices into an axis of length `side`, reflected without repeating the edge."""
    one, zero = graph.scalar(1), graph.scalar(0)
    last = graph.op("Sub", side, one)
    period = graph.op("Max", graph.op("Mul", last, graph.scalar(2)), one)
    index = graph.op("Mod", graph.op("Range", zero, target, one), period)
    return graph.op("Min", index, graph.op("Sub", period, index))


def crop(graph: Graph, image: str, size: Size, scale: int) -> str:
    """Return the top left part of the image (b, c, H, W), of `scale` times `size`."""
    sides = (graph.op("Mul", side, graph.scalar(scale)) for side in (size.height, size.width))
    ends = graph.op("Concat", *(graph.op("Unsqueeze", side, graph.integers(0)) for side in sides), axis=0)
    return graph.op("Slice", image, graph.integers(0, 0), ends, graph.integers(2, 3))


@dataclass(frozen=True)
class Windows:
    """Positions of the tokens in shifted or unshifted windows.

    Attributes:
        tokens: number of the token at each position, (windows, n).
        places: number of the position of each token, counted window by window, (h w,).
        mask: (windows, 1, n, n) of 0 and -100, or None without a shift.
    """

    tokens: str
    places: str
    mask: str | None


def windows(graph: Graph, size: Size, window: int, shift: int) -> Windows:
    """Return the windows of n = window² tokens of an image that is rolled by `shift` to the top and left."""
    n = window * window
    grid = [graph.op("Unsqueeze", side, graph.integers(0)) for side in (size.height, size.width)]
    many = [graph.op("Div", side, graph.integers(window)) for side in grid]
    in_windows = graph.op("Concat", many[0], graph.integers(window), many[1], graph.integers(window), axis=0)
    by_window = graph.op("Concat", *many, graph.integers(window, window), axis=0)
    count = graph.op("Mul", size.height, size.width)
    numbers = graph.op("Range", graph.scalar(0), count, graph.scalar(1))

    def cut(laid_out: str) -> str:
        parts = graph.op("Transpose", graph.op("Reshape", laid_out, in_windows), perm=[0, 2, 1, 3])
        return graph.op("Reshape", parts, graph.integers(-1, n))

    tokens = cut(_rolled(graph, graph.op("Reshape", numbers, graph.op("Concat", *grid, axis=0)), size, shift))
    places = graph.op("Transpose", graph.op("Reshape", numbers, by_window), perm=[0, 2, 1, 3])
    places = _rolled(graph, graph.op("Reshape", places, graph.op("Concat", *grid, axis=0)), size, -shift)
    places = graph.op("Reshape", places, graph.integers(-1))
    if not shift:
        return Windows(tokens, places, None)
    # After rolling, the last window of a row or column has parts that are not adjacent in the image.
    bands = []
    for side in (size.height, size.width):
        index = graph.op("Range", graph.scalar(0), side, graph.scalar(1))
        steps = [graph.op("Sub", side, graph.scalar(edge)) for edge in (window, shift)]
        passed = [graph.op("Cast", graph.op("GreaterOrEqual", index, step), to=7) for step in steps]  # 7: int64
        bands.append(graph.op("Add", *passed))
    rows = graph.op("Mul", graph.op("Unsqueeze", bands[0], graph.integers(1)), graph.scalar(3))
    region = cut(graph.op("Add", rows, bands[1]))
    pair = [graph.op("Unsqueeze", region, graph.integers(axis)) for axis in (1, 2)]
    apart = graph.op("Where", graph.op("Equal", *pair), graph.constant(0.0), graph.constant(MASKED))
    return Windows(tokens, places, graph.op("Unsqueeze", apart, graph.integers(1)))


def _rolled(graph: Graph, laid_out: str, size: Size, shift: int) -> str:
    """Return (h, w) rolled by `shift` to the top and left, |shift| below h and w."""
    if not shift:
        return laid_out
    for axis, side in enumerate((size.height, size.width)):
        index = graph.op("Range", graph.scalar(0), side, graph.scalar(1))
        index = graph.op("Mod", graph.op("Add", index, graph.scalar(shift)), side)  # sign of the divisor
        laid_out = graph.op("Gather", laid_out, index, axis=axis)
    return laid_out
