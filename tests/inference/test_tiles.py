"""A tiled image is the untiled one as far as the overlap reaches, in memory that the tile bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compsrt_plugin  # noqa: F401  (repairs what BasicSR's import needs)
from compsrt_plugin.archs.compsrt_swinir_arch import CompSRTSwinIR
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.inference import Tile, pad_to_windows, super_resolve, tiles_of

SCALE, WINDOW = 2, 4


class Enlarge(nn.Module):
    """Pixels of one window look at each other and at the next pixels: integers, so that every sum is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((x.shape[2], x.shape[3]))
        x = x + nn.functional.avg_pool2d(x, WINDOW).repeat_interleave(WINDOW, 2).repeat_interleave(WINDOW, 3)
        x = nn.functional.conv2d(x, torch.ones(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])
        return x.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)


def whole_numbers(*shape: int) -> Tensor:
    return torch.randint(0, 64, shape, generator=torch.Generator().manual_seed(0)).float() * 16


def untiled(network: nn.Module, lq: Tensor, padding: str = "reflect") -> Tensor:
    return network(pad_to_windows(lq, WINDOW, padding))[:, :, : lq.shape[2] * SCALE, : lq.shape[3] * SCALE]


@pytest.mark.parametrize("padding", ["reflect", "flip"])
@pytest.mark.parametrize("shape", [(1, 3, 40, 33), (2, 1, 5, 61), (1, 3, 1, 1), (1, 3, 16, 17)])
def test_bit_equal_where_the_overlap_holds_what_a_pixel_sees(shape: tuple[int, ...], padding: str) -> None:
    network, lq = Enlarge(), whole_numbers(*shape)
    tiled = super_resolve(network, lq, scale=SCALE, window=WINDOW, padding=padding, tile=Tile(16, 4))
    assert max(max(size) for size in network.seen) <= 16
    assert torch.equal(tiled, untiled(network, lq, padding))


def test_without_a_tile_a_picture_that_fits_is_run_whole() -> None:
    network, lq = Enlarge(), whole_numbers(1, 3, 30, 20)
    assert torch.equal(super_resolve(network, lq, scale=SCALE, window=WINDOW), untiled(network, lq))
    assert network.seen[0] == (32, 20)


@pytest.fixture
def swinir() -> CompSRTSwinIR:
    """Three blocks with one shift between them: 8 + 4 + 4 pixels to each side at most, and 1 for each convolution."""
    torch.manual_seed(0)
    network = CompSRTSwinIR(upscale=2, depths=[3], num_heads=[2], embed_dim=8, img_size=16).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)  # so that what lies far away counts
    return network


def test_swinir_in_tiles_is_the_whole_within_rounding_where_the_overlap_is_wide(swinir: CompSRTSwinIR) -> None:
    lq = torch.rand(1, 3, 72, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = swinir(lq)

    def difference(overlap: int) -> float:
        tiled = super_resolve(swinir, lq, scale=2, window=8, tile=Tile(8 + 2 * overlap, overlap))
        return (tiled - whole).abs().max().item() / whole.std().item()

    assert difference(24) < 1e-5
    assert difference(0) > 100 * difference(24)


def test_pieces_come_row_by_row_and_fill_stripes() -> None:
    lq = whole_numbers(1, 3, 40, 33)
    boxes = [box for box, _ in tiles_of(Enlarge(), lq, scale=SCALE, window=WINDOW, tile=Tile(16, 4))]
    assert boxes == sorted(boxes)
    bottom = 0
    for top in sorted({box.top for box in boxes}):
        row = [box for box in boxes if box.top == top]
        assert top == bottom and len({box.bottom for box in row}) == 1
        assert [box.left for box in row] == [0, *(box.right for box in row[:-1])] and row[-1].right == 66
        bottom = row[0].bottom
    assert bottom == 80


def test_any_callable_and_whole_bytes_will_do() -> None:
    network, picture = Enlarge(), torch.randint(0, 256, (40, 33, 3), dtype=torch.uint8)
    view = picture.permute(2, 0, 1).unsqueeze(0)  # as an image lies in a file
    made = super_resolve(lambda x: network(x), view, scale=SCALE, window=WINDOW, tile=Tile(16, 4))
    assert torch.allclose(made, untiled(network, view.float() / 255), atol=1e-5)


def test_progress_counts_the_tiles() -> None:
    counted: list[int] = []

    def progress(tiles: list[Any]) -> Iterable[Any]:
        for number, tile in enumerate(tiles, start=1):
            yield tile
            counted.append(number)

    lq = whole_numbers(1, 3, 40, 16)
    super_resolve(Enlarge(), lq, scale=SCALE, window=WINDOW, tile=Tile(16, 4), progress=progress)
    assert counted == [1, 2, 3, 4]


def test_a_network_of_another_scale_is_named() -> None:
    with pytest.raises(CompSRTError, match=r"the network makes 16×16 of 8×8 pixels; allowed: 4 times"):
        super_resolve(Enlarge(), whole_numbers(1, 3, 8, 8), scale=4, window=WINDOW)


def test_gradients_stay_on_between_two_tiles() -> None:
    for _ in tiles_of(Enlarge(), whole_numbers(1, 3, 40, 16), scale=SCALE, window=WINDOW, tile=Tile(16, 4)):
        assert torch.is_grad_enabled()
