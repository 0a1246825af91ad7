"""Draw the stages of every way as bars to one scale."""

from __future__ import annotations

from PIL import Image, ImageDraw

from compsrt_plugin.analysis.profile.profiling import Profile
from compsrt_plugin.analysis.profile.stages import PROFILE_STAGES
from compsrt_plugin.analysis.sizes.size_map import MARGIN, WIDTH
from compsrt_plugin.report.drawing import FAINT, INK, PAPER, draw_line, font, line_height

BAR, GAP = 44, 18  # heights in pixels
STAGE_COLOURS: dict[str, str] = dict(
    zip(
        PROFILE_STAGES,
        ("#c8452c", "#e0913b", "#1f5f8b", "#4f8a5b", "#8d6a9f", "#b58a9d", "#3f8f9b", "#b9b29f", "#8a8f98", "#d5d6da"),
    )
)


def draw_stages(profile: Profile) -> Image.Image:
    """Return a chart with one bar per way, as long as its median and divided into stages, and a legend."""
    inner = WIDTH - 2 * MARGIN
    longest = max(sum(times.values()) for times in profile.stages.values())
    shown = [stage for stage in PROFILE_STAGES if any(times[stage] for times in profile.stages.values())]
    legend = _legend_places(shown, inner)
    rows = len(profile.stages) * (line_height(20) + BAR + GAP)
    lines = 1 + max(line for line, _ in legend.values())
    height = 2 * MARGIN + line_height(30) + line_height(18) + GAP + rows + GAP + lines * line_height(18)
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    title = f"{profile.path.name}: x{profile.scale}, {profile.bits} bits"
    draw_line(pen, (MARGIN, top), title, 30, INK, inner)
    top += line_height(30)
    batch, threads = profile.main
    size = f"{profile.size[0]} x {profile.size[1]} pixels"
    about = f"milliseconds, median of {profile.runs}; {size}, batch {batch}, threads {threads}"
    draw_line(pen, (MARGIN, top), about, 18, FAINT, inner)
    top += line_height(18) + GAP
    for name, times in profile.stages.items():
        draw_line(pen, (MARGIN, top), f"{profile.labels[name]}   {sum(times.values()):.1f} ms", 20, INK, inner)
        top += line_height(20)
        _draw_bar(pen, times, top, inner / longest)
        top += BAR + GAP
    top += GAP
    for stage, (line, left) in legend.items():
        place = top + line * line_height(18)
        pen.rectangle((MARGIN + left, place + 3, MARGIN + left + 16, place + 19), STAGE_COLOURS[stage])
        draw_line(pen, (MARGIN + left + 24, place), stage, 18, INK, inner)
    return sheet


def _draw_bar(pen: ImageDraw.ImageDraw, times: dict[str, float], top: int, scale: float) -> None:
    left = float(MARGIN)
    for stage in PROFILE_STAGES:
        right = left + times[stage] * scale
        if round(right) > round(left):
            pen.rectangle((round(left), top, round(right) - 1, top + BAR), STAGE_COLOURS[stage])
            text = f"{times[stage]:.0f}"
            if right - left > font(18).getlength(text) + 12:
                ink = INK if stage in ("other", "copies", "quantize") else "#ffffff"
                draw_line(pen, (round(left) + 6, top + 10), text, 18, ink, round(right - left))
        left = right


def _legend_places(stages: list[str], inner: int) -> dict[str, tuple[int, int]]:
    """Return stage -> (line, left edge) in the legend."""
    places: dict[str, tuple[int, int]] = {}
    line = left = 0
    for stage in stages:
        width = 24 + round(font(18).getlength(stage)) + 32
        if left + width > inner:
            line, left = line + 1, 0
        places[stage] = (line, left)
        left += width
    return places
