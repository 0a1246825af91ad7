"""Draw the charts of an analysis with matplotlib (extra `plot`), legible at half the width of a page."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compsrt_plugin.analysis.tensors.places import BEFORE, PAPER, Place
from compsrt_plugin.analysis.tensors.summary import Analysis, error_before
from compsrt_plugin.files import write_whole

_EXTRA = "pip install 'compsrt_plugin[plot]'"
GREY, BLUE, ORANGE = "#8a8f98", "#0b62a4", "#d1600a"
ROLE_COLOURS = {"weight": GREY, "input": BLUE, "q": "#3a923a", "k": "#b2912f", "v": "#7b3294", "map": ORANGE}
LABELS = {"weight": "weights", "input": "linear inputs", "map": "softmax maps"}
_DPI = 200
_STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e6e9",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def missing_matplotlib() -> str | None:
    """Return the message if matplotlib is not installed, else None."""
    if importlib.util.find_spec("matplotlib") is None:
        return f"no charts: matplotlib is not installed; {_EXTRA}"
    return None


def draw_analysis(analysis: Analysis, folder: Path) -> list[Path]:
    """Write all charts of an analysis as PNG and return their paths.

    Raises:
        UnwritableError: the folder cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure  # no pyplot: no window system, no state

    charts: dict[str, tuple[Callable[[Any, Any], None], Any, tuple[float, float]]] = {}
    places = [place for place in analysis.places if PAPER in place.domains]
    if places:
        charts["histograms.png"] = (_histograms, places, (7.0, 4.2))
        charts["range_by_depth.png"] = (_range_by_depth, places, (7.0, 4.2))
        charts["error_by_place.png"] = (_error_by_place, places, (7.0, 4.8))
    if analysis.walk is not None:
        charts["walk.png"] = (_walk, analysis.walk, (7.0, 4.2))
    written = []
    with matplotlib.rc_context(_STYLE):
        for name, (make, what, size) in charts.items():
            figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
            make(figure, what)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", metadata={"Software": None})
            write_whole(folder / name, buffer.getvalue())
            written.append(folder / name)
    return written


def worst_and_typical(places: Sequence[Place]) -> tuple[Place, Place]:
    """Return the places with the largest and the median error at 3 bits without a transform."""
    ranked = sorted(places, key=error_before)
    return ranked[-1], ranked[len(ranked) // 2]


def _histograms(figure: Any, places: Sequence[Place]) -> None:
    for axes, place, which in zip(figure.subplots(1, 2), worst_and_typical(places), ("worst", "typical")):
        shown = place.histogram
        before, after = (np.array(shown.shares[name]) for name in (BEFORE, PAPER))
        edges = np.linspace(-shown.reach, shown.reach, len(before) + 1)
        axes.stairs(before, edges, fill=True, color=GREY, alpha=0.55, label="before")
        axes.stairs(after, edges, color=BLUE, linewidth=1.8, label="after")
        axes.set_yscale("log")
        seen = np.flatnonzero(before + after)
        axes.set_xlim(edges[seen[0]], edges[seen[-1] + 1])
        axes.set_ylim(0.5 / max(place.sampled, 1), 1.5)
        errors = [place.domains[name].error["3"] for name in (BEFORE, PAPER)]
        axes.set_title(f"{which} place", loc="left")
        axes.set_xlabel(f"value / RMS\n{_short(place.name)}\nerror at 3 bits: {errors[0]:.2%} → {errors[1]:.2%}")
    figure.axes[0].legend(loc="upper right", handlelength=1.2)
    figure.axes[0].set_ylabel("share of values")


def _range_by_depth(figure: Any, places: Sequence[Place]) -> None:
    axes = figure.subplots()
    for role, members in _by_role(places).items():
        ratios = [
            place.domains[PAPER].span / place.domains[BEFORE].span for place in members if place.domains[BEFORE].span
        ]
        x = 100 * (np.arange(len(ratios)) + 0.5) / max(len(ratios), 1)
        axes.plot(x, ratios, "o", color=_colour(role), markersize=3, alpha=0.35)
        axes.plot(x, _running_median(ratios), color=_colour(role), linewidth=2.2, label=LABELS.get(role, role))
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"×{value:g}")
    axes.set_title("range after the transform / before", loc="left")
    axes.set_xlabel("depth: first to last place of its kind, %")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.2)


def _error_by_place(figure: Any, places: Sequence[Place]) -> None:
    axes = figure.subplots()
    values = []
    for role, members in _by_role(places).items():
        pairs = np.array([[place.domains[name].error["3"] for name in (BEFORE, PAPER)] for place in members])
        values.append(pairs)
        label = f"{LABELS.get(role, role)} ({len(members)})"
        axes.plot(*pairs.T, "o", color=_colour(role), markersize=4.5, alpha=0.7, label=label)
    together = np.concatenate(values)
    ends = [max(together.min(), 1e-6) / 1.3, together.max() * 1.3]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    better = (together[:, 1] < together[:, 0]).sum()
    axes.set_title(f"error at 3 bits: lower at {better} of {len(together)} places", loc="left")
    axes.set_xlabel("relative error before the transform")
    axes.set_ylabel("after")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)


def _walk(figure: Any, walk: Any) -> None:
    axes = figure.subplots()
    x = np.arange(1, len(walk.steps) + 1)
    axes.plot(x, [step.own for step in walk.steps], "o--", color=GREY, markersize=4, label="this block alone")
    axes.plot(x, [step.total for step in walk.steps], "o-", color=BLUE, linewidth=2, label="all blocks up to here")
    axes.axhline(walk.output, color=ORANGE, linewidth=1.2)
    axes.annotate(f"enlarged image {walk.output:.1f} dB", (x[0], walk.output), (0, 3), textcoords="offset points",
                  color=ORANGE, fontsize=10)  # fmt: skip
    axes.set_title(walk.network, loc="left")
    axes.set_xlabel("block, first to last")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("signal to noise, dB")
    axes.legend(loc="best")


def _by_role(places: Sequence[Place]) -> dict[str, list[Place]]:
    roles = dict.fromkeys(place.role for place in places)
    return {role: [place for place in places if place.role == role] for role in roles}


def _colour(role: str) -> str:
    return ROLE_COLOURS.get(role, "black")


def _running_median(values: Sequence[float]) -> np.ndarray:
    half = max(1, len(values) // 12)
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _short(name: str, most: int = 34) -> str:
    """Shorten a long name in its middle: its first two parts tell the stage, its end the layer."""
    if len(name) <= most:
        return name
    stage = ".".join(name.split(".")[:2])[: most // 2]
    return f"{stage}…{name[len(stage) - most + 1 :]}"
