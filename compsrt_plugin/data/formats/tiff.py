"""Read the image of a TIFF file according to its tags (TIFF 6.0, BigTIFF, and extensions of libtiff).

Pillow supports a fixed list of layouts and reduces colour to 8 bits. OpenCV ignores planes and the meaning of alpha.
Here they only decompress. The tags define the samples, and errors name what is not supported.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from tifffile import COMPRESSION, TiffFile, TiffPage

from compsrt_plugin.buckets import Place
from compsrt_plugin.data.formats.tiff_samples import LOSSLESS_COMPRESSIONS, TiffLayout, samples_of
from compsrt_plugin.errors import CompSRTError

_ALLOWED = "TIFF with one image, grey, palette or RGB of 1 to 16 bits, with or without alpha"
SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSED, PHOTOMETRIC, FILL_ORDER = 254, 255, 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANAR, PREDICTOR, COLOUR_MAP = 273, 274, 277, 278, 284, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, EXTRA_SAMPLES, SAMPLE_FORMAT, ICC = 322, 323, 324, 338, 339, 34675
REDUCED, MASK = 1, 4  # bits of SUBFILE
OLD_REDUCED = 2  # a value of OLD_SUBFILE
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK_COLOUR, YCBCR = 0, 1, 2, 3, 4, 6
_COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1}
OTHER_COLOURS = {
    5: "CMYK",
    6: "YCbCr",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a camera's raw data",
    32844: "LogL",
    32845: "LogLuv",
    34892: "a camera's linear raw data",
}
SAMPLE_FORMATS = {2: "signed integer", 3: "floating-point", 5: "complex integer", 6: "complex floating-point"}
PREMULTIPLIED, UNASSOCIATED, COREL = 1, 2, 999  # values of EXTRA_SAMPLES; Corel Draw 10 has its own value for alpha
SMALL_SIDE = 256  # largest side in pixels of a thumbnail without a tag

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # hides its remarks on odd tags from the terminal


@dataclass(frozen=True)
class TiffImage:
    """The samples of the image of a TIFF in file order (its orientation is not applied).

    Attributes:
        colour: (height, width, 1 or 3), uint8 up to 8 bits, else uint16; black is 0.
        alpha: (height, width) of the same dtype, not premultiplied; None if there is none.
        icc: the colour profile.
        directory: offset of the image's tags.
        orientation: 1 to 8, as in EXIF.
        lossless: whether the compression is lossless (not JPEG).
        notes: one line for each thing that was dropped or assumed.
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    icc: bytes | None
    directory: int
    orientation: int
    lossless: bool
    notes: tuple[str, ...]


def read_tiff(content: bytes, path: Place) -> TiffImage:
    """Return the image of a TIFF file.

    Args:
        content: the file.
        path: named in errors.

    Raises:
        CompSRTError: the image is of an unsupported kind. The message names it.
        Exception: the file is damaged. Any parser may raise.
    """
    with TiffFile(io.BytesIO(content)) as tiff:
        notes: list[str] = []
        page = _the_page(tiff, path, notes)
        layout = _layout(page, content, path, tiff)
        samples = samples_of(layout, content)
        colours = _COLOURS.get(layout.photometric) or samples.shape[2]
        map_ = page.tags.valueof(COLOUR_MAP)
        if layout.photometric == PALETTE and samples.shape[2] < 3:
            samples = _through_palette(samples, np.asarray(map_, np.uint16), layout.bits)
            colours = 3
        colour, alpha = _alpha(samples, colours, page, notes)
        if layout.photometric == WHITE_IS_ZERO and layout.compression in LOSSLESS_COMPRESSIONS:
            colour = np.iinfo(colour.dtype).max - colour
        icc = page.tags.valueof(ICC)
        return TiffImage(
            colour=np.ascontiguousarray(colour),
            alpha=alpha,
            icc=bytes(icc) if icc else None,
            directory=page.offset,
            orientation=int(page.tags.valueof(ORIENTATION, 1)),
            lossless=layout.compression in LOSSLESS_COMPRESSIONS,
            notes=tuple(notes),
        )


def turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Return (height, width, …) turned by an orientation of 1 to 8."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in (2, 3, 6, 7) else samples


def _the_page(tiff: TiffFile, path: Place, notes: list[str]) -> TiffPage:
    """Return the page of the image, ignoring smaller versions of it."""
    pages = [page for page in tiff.pages if isinstance(page, TiffPage) and _has_samples(page)]
    whole = [page for page in pages if not _reduced(page)]
    if not whole:  # for example a raw file, whose full-size image is one level below
        below = [inner for page in pages for inner in page.pages or () if isinstance(inner, TiffPage)]
        whole = [page for page in below if _has_samples(page) and not _reduced(page)] or pages[:1]
    if any(_is_mask(page) for page in whole):
        raise CompSRTError(f"{path} has a transparency mask", allowed=_ALLOWED, hint="convert it first")
    if len(whole) == 2 and _looks_like_thumbnail(whole[1], whole[0]):
        size = f"{whole[1].tags.valueof(WIDTH)} x {whole[1].tags.valueof(HEIGHT)} pixels"
        notes.append(f"its second image, {size}, is taken for a thumbnail and left out")
        whole = whole[:1]
    if len(whole) > 1:
        raise CompSRTError(f"{path} holds {len(whole)} images", allowed=_ALLOWED, hint="save them one by one")
    if not whole:
        raise ValueError("no image is described in it")
    return whole[0]


def _has_samples(page: TiffPage) -> bool:
    has = page.tags.valueof
    return bool(has(WIDTH)) and bool(has(HEIGHT)) and (has(STRIP_OFFSETS) or has(TILE_OFFSETS) or has(513)) is not None


def _reduced(page: TiffPage) -> bool:
    return bool(int(page.tags.valueof(SUBFILE, 0)) & REDUCED) or page.tags.valueof(OLD_SUBFILE) == OLD_REDUCED


def _is_mask(page: TiffPage) -> bool:
    return bool(int(page.tags.valueof(SUBFILE, 0)) & MASK) or page.tags.valueof(PHOTOMETRIC) == MASK_COLOUR


def _looks_like_thumbnail(page: TiffPage, whole: TiffPage) -> bool:
    """Return whether a page is a smaller version of another without a tag, as some cameras write it."""
    (width, height), (large_width, large_height) = (
        (int(p.tags.valueof(WIDTH)), int(p.tags.valueof(HEIGHT))) for p in (page, whole)
    )
    alike = abs(width * large_height - height * large_width) <= max(large_width, large_height)  # to within a pixel
    return alike and max(width, height) <= SMALL_SIDE and 2 * max(width, height) <= max(large_width, large_height)


def _layout(page: TiffPage, content: bytes, path: Place, tiff: TiffFile) -> TiffLayout:
    """Return the layout of the samples. CompSRTError if it is not supported."""

    def refuse(what: str) -> CompSRTError:
        return CompSRTError(f"{path} {what}", allowed=_ALLOWED, hint="convert it first")

    value = page.tags.valueof
    compression = int(value(COMPRESSED, 1))
    name = COMPRESSION(compression).name if compression in set(COMPRESSION) else f"number {compression}"
    samples = int(value(SAMPLES, 1))
    photometric = int(value(PHOTOMETRIC, RGB if samples >= 3 else BLACK_IS_ZERO))  # the default of libtiff
    bits = _every(value(BITS, 1), samples)
    formats = set(_every(value(SAMPLE_FORMAT, 1), samples)) - {1, 4}  # 4 means undefined
    if photometric not in _COLOURS and not (photometric == YCBCR and compression not in LOSSLESS_COMPRESSIONS):
        raise refuse(f"is {OTHER_COLOURS.get(photometric, f'of photometric interpretation {photometric}')}")
    if formats:
        kind = SAMPLE_FORMATS.get(min(formats), f"format {min(formats)}")
        raise refuse(f"has {kind} samples of {bits[0]} bits")
    if len(set(bits)) > 1:
        raise refuse(f"has samples of different depths, {', '.join(map(str, bits))} bits")
    if not 1 <= bits[0] <= (8 if photometric == PALETTE else 16):
        raise refuse(f"has {bits[0]} bits per sample" + (" in a palette" if photometric == PALETTE else ""))
    if samples < _COLOURS.get(photometric, 3 if photometric != YCBCR else 1):
        raise ValueError(f"it has {samples} samples per pixel")
    predictor = int(value(PREDICTOR, 1))
    layout = TiffLayout(
        width=int(value(WIDTH)),
        height=int(value(HEIGHT)),
        bits=bits[0],
        samples=samples,
        photometric=photometric,
        compression=compression,
        name=name,
        predictor=predictor,
        planes=samples if int(value(PLANAR, 1)) == 2 else 1,
        fill_order=int(value(FILL_ORDER, 1)),
        order=tiff.byteorder,
        big=tiff.is_bigtiff,
        tile=(int(value(TILE_HEIGHT)), int(value(TILE_WIDTH))) if value(TILE_WIDTH) else None,
        rows=min(int(value(ROWS_PER_STRIP, 1 << 31)), int(value(HEIGHT))),
        offsets=tuple(page.dataoffsets),
        counts=tuple(page.databytecounts),
        directory=page.offset,
    )
    problem = layout.problem()
    if problem is not None:
        raise refuse(problem)
    return layout


def _every(value: Any, samples: int) -> tuple[int, ...]:
    """Return the value of a tag for each sample. A single value applies to all."""
    values = tuple(int(v) for v in value) if isinstance(value, (tuple, list)) else (int(value),)
    return values if len(values) == samples else values[:1] * samples


def _through_palette(samples: np.ndarray, palette: np.ndarray, bits: int) -> np.ndarray:
    """Return (h, w, 3 and further samples) for palette indices that are scaled to 8 bits."""
    table = palette.reshape(3, 1 << bits).T
    table = (table >> 8 if table.max(initial=0) > 255 else table).astype(
        np.uint8
    )  # some writers use 8 bits, like libtiff detects
    # indices are scaled to 0..255 like grey
    indices = (samples[..., 0].astype(np.uint32) * ((1 << bits) - 1) + 127) // 255
    return np.dstack([table[indices], samples[..., 1:]])


def _alpha(samples: np.ndarray, colours: int, page: TiffPage, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colour (not premultiplied) and alpha. Add notes about dropped samples."""
    colour, extra = samples[..., :colours], samples.shape[2] - colours
    if not extra:
        return colour, None
    value = page.tags.valueof(EXTRA_SAMPLES)
    meanings = list(value) if isinstance(value, (tuple, list)) else [] if value is None else [value]
    meanings = [int(meaning) for meaning in meanings]
    if not meanings and extra == 1:
        notes.append("no tag defines its last sample, which is taken for alpha")
        meanings = [UNASSOCIATED]
    meanings += [0] * (extra - len(meanings))
    found = [i for i, meaning in enumerate(meanings[:extra]) if meaning in (PREMULTIPLIED, UNASSOCIATED, COREL)]
    left_out = extra - len(found[:1])
    if left_out:
        what = "1 sample" if left_out == 1 else f"{left_out} samples"
        notes.append(f"{what} besides colour{' and alpha' if found else ''}, without a stated meaning, left out")
    if not found:
        return colour, None
    alpha = np.ascontiguousarray(samples[..., colours + found[0]])
    return (_divided(colour, alpha) if meanings[found[0]] == PREMULTIPLIED else colour), alpha


def _divided(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colour divided by alpha, rounded to the nearest."""
    top = np.uint32(np.iinfo(colour.dtype).max)
    divisor = np.maximum(alpha, 1).astype(np.uint32)[..., None]
    return np.minimum((colour * top + divisor // 2) // divisor, top).astype(colour.dtype)
