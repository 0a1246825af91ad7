"""Write a profile as text tables, as sentences, and as plain values for JSON."""

from __future__ import annotations

from typing import Any

from compsrt_plugin.analysis.profile.profiling import NO_MASK, NO_TRANSFORM, SIMULATED_AND_ENGINE, Profile
from compsrt_plugin.analysis.profile.stages import PROFILE_STAGES
from compsrt_plugin.analysis.profile.timing import Timing
from compsrt_plugin.report.columns import ruled


def profile_text(profile: Profile) -> str:
    """Return latency, throughput, stages and the cost of transform and mask as text, without a final newline."""
    batch, threads = profile.main
    height, width = profile.size
    blocks = [
        [
            f"{profile.path.name}: x{profile.scale}, {profile.bits} bits; input {height} x {width} pixels, "
            f"batch {batch}, threads {threads}, {profile.runs} rounds in turns"
        ],
        ruled(_latency(profile)),
    ]
    if len(profile.settings) > 1:
        settings = profile.settings
        heading = ("images per second", *(f"batch {b}, threads {t}" for b, t in settings))
        rows = [
            (label, *(f"{_per_second(profile, name, setting):.2f}" for setting in settings))
            for name, label in profile.labels.items()
        ]
        blocks.append(ruled([heading, *rows]))
    stages = [stage for stage in PROFILE_STAGES if any(times[stage] for times in profile.stages.values())]
    rows = [
        (profile.labels[name], *(f"{times[stage]:.1f}" for stage in stages)) for name, times in profile.stages.items()
    ]
    blocks.append(ruled([("ms per stage", *stages), *rows]))
    blocks.append(sentences(profile))
    if found := warnings(profile):
        blocks.append(found)
    if profile.missing:
        blocks.append([f"{name}: {why}" for name, why in profile.missing.items()])
    return "\n\n".join("\n".join(block) for block in blocks)


def sentences(profile: Profile) -> list[str]:
    """Return sentences about the end-to-end cost of the transform and the mask."""
    found = []
    values = profile_to_dict(profile)
    for way, cost in values["transform"].items():
        total = profile.main_timing(way).median_ms
        spent = cost["stage_ms"]
        line = f"Transform, {way}: {spent:.1f} of {total:.1f} ms ({spent / total:.1%}) are spent in it"
        if cost["cost_ms"] is not None:
            whole = " and no mask" if profile.pruned_share else ""
            line += (
                f"; the same network without it{whole} takes {cost['without_ms']:.1f} ms, so end to end it costs "
                f"{cost['cost_ms']:+.1f} ms ({cost['cost_ms'] / cost['without_ms']:+.1%})"
            )
        found.append(f"{line}.")
    if not profile.pruned_share:
        return [*found, "Mask: this network is not pruned and has no mask."]
    for way, cost in values["mask"].items():
        found.append(
            f"Mask, {way}: {profile.pruned_share:.1%} of the weights in its pruned layers are zero; it takes "
            f"{profile.main_timing(way).median_ms:.1f} ms, filled in {cost['without_ms']:.1f} ms, so the mask costs "
            f"{cost['cost_ms']:+.1f} ms ({cost['cost_ms'] / cost['without_ms']:+.1%})."
        )
    return found


def warnings(profile: Profile) -> list[str]:
    """Return warnings about a busy machine, which makes the times unreliable."""
    found = []
    if profile.load > profile.cores / 2:
        found.append(f"Warning: {profile.load:.1f} processes ran before the start, on {profile.cores} cores.")
    apart = [name for name in profile.labels if profile.main_timing(name).scattered]
    if apart:
        ways = ", ".join(f"{profile.labels[name]} {_range(profile.main_timing(name))} ms" for name in apart)
        found.append(f"Warning: the rounds scatter ({ways}).")
    if found:
        found.append(
            "The speed-ups are not reliable: a busy machine slows some ways more than others. Measure it at rest."
        )
    return found


def _range(timing: Timing) -> str:
    return f"{timing.percentile_ms(5):.1f} to {timing.percentile_ms(95):.1f}"


def profile_to_dict(profile: Profile) -> dict[str, Any]:
    """Return plain values for JSON, as docs/profile.md describes."""
    batch, threads = profile.main
    ways = [name for name in SIMULATED_AND_ENGINE if name in profile.labels]
    return {
        "file": profile.path.name,
        "scale": profile.scale,
        "bits": profile.bits,
        "size": list(profile.size),
        "batch": batch,
        "threads": threads,
        "runs": profile.runs,
        **{f"{name}_ms": profile.main_timing(name).median_ms for name in profile.labels},
        "ways": {
            name: {
                "label": label,
                "ratio_to_eager": profile.main_timing(name).median_ms / profile.main_timing("eager").median_ms,
                "peak_bytes": profile.peaks.get(name),
                "stages_ms": profile.stages[name],
            }
            for name, label in profile.labels.items()
        },
        "timings": [
            {"way": name, "batch": setting[0], "threads": setting[1], **_times(profile, name, setting)}
            for name in profile.labels
            for setting in profile.settings
        ],
        "transform": {way: _transform_cost(profile, way) for way in ways},
        "mask": {
            way: _cost(profile.main_timing(way), profile.twins[way, NO_MASK])
            for way in ways
            if (way, NO_MASK) in profile.twins
        },
        "pruned_share": profile.pruned_share,
        "missing": profile.missing,
        "warnings": warnings(profile),
    }


def _transform_cost(profile: Profile, way: str) -> dict[str, float | None]:
    # The twin without transform is not pruned either.
    whole = profile.twins.get((way, NO_MASK), profile.main_timing(way))
    return {"stage_ms": profile.stages[way]["transform"], **_cost(whole, profile.twins.get((way, NO_TRANSFORM)))}


def _cost(whole: Timing, without: Timing | None) -> dict[str, float | None]:
    if without is None:
        return {"without_ms": None, "cost_ms": None}
    return {"without_ms": without.median_ms, "cost_ms": whole.above_ms(without)}


def _times(profile: Profile, name: str, setting: tuple[int, int]) -> dict[str, float]:
    timing = profile.timings[name, setting]
    per_second = _per_second(profile, name, setting)
    return {
        "median_ms": timing.median_ms,
        "p5_ms": timing.percentile_ms(5),
        "p95_ms": timing.percentile_ms(95),
        "images_per_second": per_second,
        "megapixels_per_second": per_second * _megapixels(profile),
    }


def _per_second(profile: Profile, name: str, setting: tuple[int, int]) -> float:
    return 1e3 * setting[0] / profile.timings[name, setting].median_ms


def _megapixels(profile: Profile) -> float:
    """Return the megapixels of one result."""
    return profile.size[0] * profile.size[1] * profile.scale**2 / 1e6


def _latency(profile: Profile) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("latency", "median ms", "5 to 95 %", "speed-up", "MP/s", "peak MB")]
    eager = profile.main_timing("eager").median_ms
    for name, label in profile.labels.items():
        timing, peak = profile.main_timing(name), profile.peaks.get(name)
        times = _times(profile, name, profile.main)
        rows.append(
            (
                label,
                f"{timing.median_ms:.1f}",
                _range(timing),
                f"{eager / timing.median_ms:.2f}",
                f"{times['megapixels_per_second']:.2f}",
                "-" if peak is None else f"{peak / 1e6:.0f}",
            )
        )
    return rows
