"""`make results`: write the figures of README.md, docs/results.md and docs/zoo.md from `benchmarks/results`.

    python benchmarks/make_results.py [--check]

Only the text between `<!-- begin NAME -->` and `<!-- end NAME -->` is generated; `blocks` says what each NAME holds.
`recipes.py judge` and `latency.py` write the result files; run `make results` afterwards. `--check` writes nothing and
fails if a page is out of step.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from networks import NETWORKS
from results_tables import (
    BENCHMARKS,
    absolute,
    difference,
    network_table,
    published_table,
    recipe_table,
    signed,
    significance_table,
    size_table,
    source_table,
    summary_table,
    table,
    worst_table,
)
from timing_tables import engine_beside_onnx, engine_table, latency_table, onnx_table

from compsrt_plugin.analysis.paired import smallest_p
from compsrt_plugin.config.recipes import RECIPES
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import write_whole
from compsrt_plugin.packed.bundled import FAMILIES, MANIFEST
from compsrt_plugin.report import Results, read_results

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "results"
PAGES = (
    ROOT / "docs" / "results.md",
    ROOT / "docs" / "zoo.md",
    ROOT / "docs" / "networks.md",
    ROOT / "docs" / "notes" / "networks.md",
    ROOT / "docs" / "notes" / "bundled_files.md",
    ROOT / "docs" / "notes" / "onnx.md",
    ROOT / "docs" / "notes" / "engine.md",
    ROOT / "README.md",
)
DAT, SWINIR = FAMILIES
MAMBA = "compsrt_mambairv2"  # prefix of the names of its results
DEMO = "compsrt_x4_3bit"  # README's first table
FULL_PRECISION = {DAT: "DAT-light, 32 bits", SWINIR: "SwinIR-light (ours), 32 bits"}
BLOCK = re.compile(r"(<!-- begin (\S+) -->)(.*?)(<!-- end \2 -->)", re.DOTALL)


class Found:
    """What the result files hold.

    Attributes:
        bundled: of the files that come with the package, by name.
        recipes: of the bundled x4 teacher, by bits and recipe, all calibrated for the same time.
        others: of networks that do not come with the package, made from other people's weights.
        networks: of published networks, by network: each recipe and width, made by `networks.py`, and bundled files.
        latency: by name, as `latency.py` wrote them.
        onnx, without_vnni: as `onnx_kinds.py` wrote them, on processors with VNNI and with AVX-512 alone.
        all_onnx: both.
        engine: as `engine_networks.py` wrote them.
        sizes: as `image_sizes.py` wrote them.

    Raises:
        CompSRTError: a bundled file differs from the one that was judged.
    """

    def __init__(self, folder: Path) -> None:
        found = [read_results(path) for path in sorted(folder.glob("*.json"))]
        known = json.loads(MANIFEST.read_text(encoding="utf-8"))
        self.all = found
        self.bundled = {r.name: r for r in found if r.files["checkpoint"].path in known}
        self.others = [r for r in found if r.files["teacher"].path not in known and r.name not in self.bundled]
        self.recipes: dict[int, dict[str, Results]] = {}
        for results in found:
            if results.name in self.bundled:
                check_hash(results.name, results.files["checkpoint"].sha256, known)
            elif results not in self.others:
                self.recipes.setdefault(results.bits, {})[results.recipe] = results
        self.networks: dict[str, list[Results]] = {}
        for path in sorted((folder / "networks").glob("*.json")):
            results = read_results(path)
            self.networks.setdefault(results.name.partition(f"_{results.recipe}_")[0], []).append(results)
        for results in self.bundled.values():
            network = results.name.removesuffix(f"_{results.bits}bit")
            if network in NETWORKS:
                self.networks.setdefault(network, []).append(results)
        self.latency = {path.stem: one for path, one in _read(folder / "latency")}
        self.onnx, self.without_vnni, self.engine = (
            [one for _, one in _read(folder / part)] for part in ("onnx", "onnx/without_vnni", "engine")
        )
        self.sizes = [one for _, one in _read(folder / "image_sizes")]
        self.all_onnx = [*self.onnx, *self.without_vnni]
        for name, one in [*self.latency.items(), *((one["name"], one) for one in [*self.all_onnx, *self.sizes])]:
            check_hash(name, one["sha256"], known)

    def of(self, scale: int, family: str = SWINIR) -> list[Results]:
        """Return the bundled networks of a scale and a family, most bits last."""
        names = (name for name in self.bundled if name.startswith(f"{family}_x{scale}_"))
        return sorted((self.bundled[name] for name in names), key=lambda r: r.bits)

    def times_of(self, networks: Sequence[Results]) -> dict[str, Mapping[str, Any]] | None:
        """Return what `latency.py` measured of these networks, or None where one of them was not measured."""
        times = {results.name: self.latency[results.name] for results in networks if results.name in self.latency}
        return times if len(times) == len(networks) else None


def _read(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]


def check_hash(name: str, sha256: str, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a result of a file that is no longer the bundled one; files that are not bundled pass."""
    bundled = known.get(f"{name}.safetensors")
    if bundled is not None and bundled["sha256"] != sha256:
        raise CompSRTError(f"{name}: the result is of another file than the bundled one", hint="measure it again")


def blocks(found: Found) -> dict[str, Callable[[], Sequence[str]]]:
    """Return what every block holds, by name."""
    demo_network, latency = found.bundled.get(DEMO), list(found.latency.values())
    made: dict[str, Callable[[], Sequence[str]]] = {
        "demo": lambda: measured(demo, demo_network),
        "demo-file": lambda: measured(demo_file, demo_network),
        "networks": lambda: measured(overview, [found.of(4, family) for family in FAMILIES], found.latency),
        "mambairv2-light-x4": lambda: measured(network_table, [r for r in found.others if r.name.startswith(MAMBA)]),
        "worst": lambda: measured(worst_table, found.of(4)),
        "significance": lambda: measured(significance_table, found.recipes),
        "missing": lambda: [missing(found)],
        "smallest-p": lambda: [f"{smallest_p(len(BENCHMARKS)):.3f}"],
        "latency": lambda: measured(latency_table, latency),
        "latency-sources": lambda: measured(latency_sources, latency),
        "onnx-kinds": lambda: measured(onnx_table, found.onnx, full_precision(found)),
        "engine-beside-onnx": lambda: measured(engine_beside_onnx, found.onnx),
        "onnx-kinds-without-vnni": lambda: measured(onnx_table, found.without_vnni, full_precision(found)),
        "engine-beside-onnx-without-vnni": lambda: measured(engine_beside_onnx, found.without_vnni),
        "onnx-sources": lambda: measured(latency_sources, found.all_onnx),
        "engine-networks": lambda: measured(engine_table, found.engine),
        "engine-sources": lambda: measured(latency_sources, found.engine),
        "image-sizes": lambda: measured(size_table, found.sizes),
        "sources": lambda: measured(source_table, found.all),
    }
    for scale in (2, 3, 4):
        of_scale = found.of(scale)
        beside = [*of_scale, *(r for of_bits in found.recipes.values() for r in of_bits.values() if r.scale == scale)]
        for family, name in ((SWINIR, "swinir"), (DAT, "dat")):
            networks = found.of(scale, family)
            made[f"{name}-light-x{scale}"] = partial(measured, network_table, networks, found.times_of(networks))
        made[f"published-x{scale}"] = partial(measured, published_table, beside, scale)
    for network in NETWORKS:
        of_network = found.networks.get(network, [])
        made[f"recipes-{network}"] = partial(measured, partial(recipe_table, widths=True), of_network)
    made["network-sources"] = lambda: measured(source_table, [r for of in found.networks.values() for r in of])
    made["network-summary"] = lambda: measured(summary_table, found.networks)
    for bits in (2, 3, 4):
        made[f"recipes-{bits}"] = partial(measured, recipe_table, list(found.recipes.get(bits, {}).values()))
    return made


def measured(write: Callable[..., Sequence[str]], what: Any, *more: Any) -> Sequence[str]:
    """Return what `write` makes of result files, or that nothing was measured."""
    return write(what, *more) if what else ["Not measured."]


def demo(results: Results) -> list[str]:
    """Return README's first table: bicubic, teacher and the 3-bit network."""
    rows = []
    for name, scores in results.datasets.items():
        mean = scores.mean
        cells = [absolute(score) for score in (mean.bicubic, mean.teacher, mean.quantized)]
        rows.append([name, str(len(scores.per_image)), *cells, signed(difference(results, name))])
    return table(["data set", "images", "bicubic", "teacher", "quantized", "difference"], rows)


def demo_file(results: Results) -> list[str]:
    """Return the size of the packed file."""
    ratio = results.float_bytes / results.bytes
    return [f"**{results.bytes:,} bytes, {ratio:.2f} times smaller** than the float weights ({results.float_bytes:,})"]


def overview(families: Sequence[Sequence[Results]], latency: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return README's second table: the networks of one scale, each family below its full-precision network.

    Args:
        families: results of each family, of one scale.
        latency: name -> what `latency.py` measured.
    """
    rows: list[list[str]] = []
    for networks in families:
        first = networks[0]
        sets = [name for name in BENCHMARKS if name in first.datasets]
        if not rows:
            rows.append(["bicubic", *(absolute(first.datasets[name].mean.bicubic) for name in sets), "", ""])
        full = [absolute(first.datasets[name].mean.teacher) for name in sets]
        named = FULL_PRECISION[first.name.partition("_x")[0]]
        rows.append([named, *full, f"{first.float_bytes:,}", milliseconds(latency.get(networks[-1].name), first=True)])
        for results in reversed(networks):
            scores = [absolute(results.datasets[name].mean.quantized) for name in sets]
            time = milliseconds(latency.get(results.name))
            rows.append([f"`{results.name}`", *scores, f"{results.bytes:,}", time])
    return table(["network", *BENCHMARKS, "bytes", "ms"], rows)


def milliseconds(measured: Mapping[str, Any] | None, *, first: bool = False) -> str:
    """Return the time of the engine, the last way measured, or of the first way, PyTorch in full precision."""
    return "" if measured is None else f"{list(measured['processor_ms'].values())[0 if first else -1]:.0f}"


def missing(found: Found) -> str:
    """Return which recipes have no result at which width."""
    lacking = {bits: [f"`{name}`" for name in RECIPES if name not in found.recipes.get(bits, {})] for bits in (3, 2, 4)}
    told = "; ".join(f"{bits} bits, {', '.join(names)}" for bits, names in lacking.items() if names)
    if not told:
        return "Every recipe was measured at every width."
    return f"Not measured for this page: {told}. Figures of 2026-11-28 are in [a note](notes/recipes_2026_11_28.md)."


def latency_sources(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the commands, dates and processors of the latency measurements."""
    rows = []
    for one in found:
        versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
        cells = [one["date"], one["processor"], str(one["rounds"]), versions, f"`{one['command']}`"]
        rows.append([f"`{one['name']}`", *cells])
    return table(["network", "date", "processor", "rounds", "versions", "command"], rows, left=6)


def full_precision(found: Found) -> dict[str, float | None]:
    """Return the PSNR of full precision on Set5 for the networks that were measured as ONNX."""
    published = [results for of_network in found.networks.values() for results in of_network]
    measured_there = {results.name: results for results in [*found.all, *published]}
    scores = {}
    for one in found.all_onnx:
        results = measured_there.get(one["name"])
        teacher = results.datasets["Set5"].mean.teacher if results is not None else None
        scores[one["name"]] = None if teacher is None else teacher.psnr
    return scores


def filled(page: str, found: Found) -> str:
    """Return a page with all its blocks filled in.

    Raises:
        CompSRTError: a block has a name that `blocks` does not know.
    """
    known = blocks(found)

    def fill(match: re.Match[str]) -> str:
        begin, name, old, end = match.groups()
        if name not in known:
            raise CompSRTError(f"no block is called {name!r}", allowed=", ".join(sorted(known)))
        text = "\n".join(known[name]())
        return f"{begin}\n{text}\n{end}" if old.startswith("\n") else f"{begin}{text}{end}"

    return BLOCK.sub(fill, page)


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of step")
    args = parser.parse_args()
    found = Found(FOLDER)
    stale = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        wanted = filled(text, found)
        if wanted != text and args.check:
            print(f"{page.relative_to(ROOT)} is out of step: make results")
            stale += 1
        elif not args.check:
            write_whole(page, wanted.encode())
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
