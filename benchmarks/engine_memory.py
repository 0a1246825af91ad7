"""Measure the peak memory of the engine and of PyTorch, each in a process of its own.

Whole images are measured as in `basicsr profile`: two calls, above what the process held with Python, torch and the
weights loaded. Preparations such as the engine's tables count. An image in tiles is measured the same way with its
output included, and the process as a whole beside it.

`python benchmarks/engine_memory.py FILE WIDTHxHEIGHT TILE OVERLAP THREADS` is the process for tiles.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MIB = 1 << 20
WAYS = ("eager", "simulated", "engine")
OVERLAP = 16


def compare(file: Path, sizes: list[tuple[int, int]], tiled: list[tuple[int, int]], tile: int, threads: int) -> None:
    """Print the peaks of every way at whole sizes, and of the engine in tiles.

    Args:
        file: a packed file.
        sizes: (width, height) of whole images; grown to whole windows.
        tiled: (width, height) of images in tiles.
        tile: height and width of a tile.
        threads: of each way.
    """
    from compsrt_plugin.analysis.profile.peak_memory import peak_bytes

    print(f"{file.stem}, {threads} threads, MiB above the process with its weights loaded")
    for width, height in sizes:
        grown = [-(-side // 8) * 8 for side in (height, width)]
        found = {way: peak_bytes(way, file, (1, grown[0], grown[1]), threads) for way in WAYS}
        told = ", ".join(f"{way} {taken / MIB:.0f}" for way, taken in found.items())
        print(f"  {grown[1]}x{grown[0]}: {told}; engine / eager {found['engine'] / found['eager']:.3f}", flush=True)
    for width, height in tiled:
        child = [sys.executable, __file__, str(file), f"{width}x{height}", str(tile), str(OVERLAP), str(threads)]
        done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
        told = {name: taken / MIB for name, taken in json.loads(done.stdout.splitlines()[-1]).items()}
        print(
            f"  {width}x{height}, engine in tiles of {tile}, overlap {OVERLAP}: {told['above']:.0f}, "
            f"input and output {told['pictures']:.0f} of it; the whole process {told['process']:.0f}",
            flush=True,
        )


def measure_tiled(file: Path, width: int, height: int, tile: int, overlap: int, threads: int) -> dict[str, int]:
    """Return three sizes in bytes: above the start, of input and output, and of the whole process."""
    import torch

    from compsrt_plugin.analysis.profile.peak_memory import most_above, peak
    from compsrt_plugin.engine import Engine
    from compsrt_plugin.inference import Tile, super_resolve
    from compsrt_plugin.packed.open import open_packed

    torch.set_num_threads(threads)
    source = open_packed(file)
    lq = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    sizes = []

    def work() -> None:
        engine = Engine(source, threads=threads)
        how = {"scale": source.header.scale, "window": engine.window_size, "tile": Tile(tile, overlap)}
        sizes.append(super_resolve(engine, lq, **how).numel() * 4)

    return {"above": most_above(work), "pictures": lq.numel() + sizes[0], "process": peak()}


if __name__ == "__main__":
    path, size, side, overlap, threads = sys.argv[1:]
    width, height = (int(part) for part in size.split("x"))
    print(json.dumps(measure_tiled(Path(path), width, height, int(side), int(overlap), int(threads))))
