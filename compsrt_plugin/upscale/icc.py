"""Make ICC profiles equal to the colour chunks of a PNG (ICC.1:2022; ITU-T H.273 for the numbers in cICP).

Formats other than PNG have no colour chunks, only a profile. Version 4 profiles have curves as formulas, so nothing is
rounded to a table.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)  # a chromaticity; XYZ, as ICC has it
BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
# cICP's number -> white point, then red, green and blue; x and y of each
PRIMARIES: dict[int, tuple[tuple[float, float], tuple[float, ...]]] = {
    1: (D65, BT709),
    4: ((0.310, 0.316), (0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
    5: (D65, (0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: (D65, (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    7: (D65, (0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    8: ((0.310, 0.316), (0.681, 0.319, 0.243, 0.692, 0.145, 0.049)),
    9: (D65, (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    11: ((0.314, 0.351), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    12: (D65, (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    22: (D65, (0.630, 0.340, 0.295, 0.605, 0.155, 0.077)),
}
# A curve is a gamma, or gamma, a, b, c, d: (a x + b) ^ gamma for x >= d, and c x below.
SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES: dict[int, tuple[float, ...]] = {
    1: BT709_CURVE,
    4: (2.2,),
    5: (2.8,),
    6: BT709_CURVE,
    8: (1.0,),
    13: SRGB,
    14: BT709_CURVE,
    15: BT709_CURVE,
}
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Colours:
    """The colour space of sample values.

    Attributes:
        white: chromaticity of the white point.
        primaries: x and y of red, green and blue.
        curve: from samples in 0..1 to linear light; see `CURVES`.
    """

    white: tuple[float, float]
    primaries: tuple[float, ...]
    curve: tuple[float, ...]


def colours_of(chunks: Mapping[bytes, bytes]) -> Colours | None:
    """Return the colour space that the colour chunks of a PNG define, in the order cICP, sRGB, gAMA with cHRM.

    Args:
        chunks: name -> data of the correct length.

    Returns:
        None if such a profile cannot express it: HDR curves, YCbCr, narrow range, primaries without a curve.
    """
    if b"cICP" in chunks:
        primaries, curve, matrix, full_range = chunks[b"cICP"]
        if primaries not in PRIMARIES or curve not in CURVES or (matrix, full_range) != (0, 1):
            return None
        return Colours(*PRIMARIES[primaries], CURVES[curve])
    if b"sRGB" in chunks:
        return Colours(D65, BT709, SRGB)
    (gamma,) = struct.unpack(">L", chunks.get(b"gAMA", b"\0\0\0\0"))
    if not gamma:
        return None
    white, primaries = D65, BT709
    if b"cHRM" in chunks:
        numbers = [number / 1e5 for number in struct.unpack(">8L", chunks[b"cHRM"])]
        white, primaries = (numbers[0], numbers[1]), tuple(numbers[2:])
        if not _possible(white, primaries):
            return None
    return Colours(white, primaries, (1e5 / gamma,))


def profile_for(colours: Colours, *, grey: bool) -> bytes:
    """Return an ICC display profile for a colour space. A grey profile has the curve only."""
    curve = _curve(colours.curve)
    text = _text("RGB or grey as a PNG has it")
    tags = {b"desc": text, b"cprt": _text("No copyright, use freely"), b"wtpt": _xyz(np.array(D50))}
    if grey:
        tags[b"kTRC"] = curve
    else:
        columns = _to_d50(colours.white) @ _to_xyz(colours)
        tags[b"chad"] = b"sf32" + bytes(4) + _fixed(_to_d50(colours.white).ravel())
        tags.update({b"rXYZ": _xyz(columns[:, 0]), b"gXYZ": _xyz(columns[:, 1]), b"bXYZ": _xyz(columns[:, 2])})
        tags.update(dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))
    data, places = b"", {}
    start = 128 + 4 + 12 * len(tags)
    for content in tags.values():  # equal contents are stored once
        if content not in places:
            places[content] = start + len(data)
            data += content + bytes(-len(content) % 4)
    table = struct.pack(">L", len(tags)) + b"".join(
        struct.pack(">4sLL", name, places[content], len(content)) for name, content in tags.items()
    )
    space = b"GRAY" if grey else b"RGB "
    header = struct.pack(">L4sL4s4s4s", start + len(data), bytes(4), 0x04300000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s4sL4s4sQL", 2020, 1, 1, 0, 0, 0, b"acsp", bytes(4), 0, bytes(4), bytes(4), 0, 0)
    header += _fixed(np.array(D50))
    return header + bytes(128 - len(header)) + table + data


def _possible(white: tuple[float, float], primaries: tuple[float, ...]) -> bool:
    """Return whether white is a mixture of the primaries."""
    points = np.array([(x, y, 1 - x - y) for x, y in zip(primaries[::2], primaries[1::2])]).T
    if white[1] <= 0 or abs(np.linalg.det(points)) < 1e-6:
        return False
    shares = np.linalg.solve(points, [white[0], white[1], 1 - white[0] - white[1]])
    return bool((shares > 0).all())


def _to_xyz(colours: Colours) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ, white with Y = 1."""
    points = np.array([(x, y, 1 - x - y) for x, y in zip(colours.primaries[::2], colours.primaries[1::2])]).T
    return points * np.linalg.solve(points, _white(colours.white))


def _white(white: tuple[float, float]) -> np.ndarray:
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _to_d50(white: tuple[float, float]) -> np.ndarray:
    """Return the matrix that takes colours seen under `white` to D50, by Bradford's cones."""
    shares = (BRADFORD @ np.array(D50)) / (BRADFORD @ _white(white))
    return np.linalg.inv(BRADFORD) @ np.diag(shares) @ BRADFORD


def _fixed(values: np.ndarray) -> bytes:
    return np.round(np.asarray(values) * 65536).astype(">i4").tobytes()


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _curve(curve: tuple[float, ...]) -> bytes:
    return b"para" + struct.pack(">LHH", 0, 0 if len(curve) == 1 else 3, 0) + _fixed(np.array(curve))


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">LLL2s2sLL", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded
