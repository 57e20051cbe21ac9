"""The power curve: best mean power over each duration, beside the athlete's best so far."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from strava_pipeline.pictures.canvas import FONT_POINTS, new_figure, png, style_axes
from strava_pipeline.pictures.themes import LIGHT, VERMILLION, Theme

HEIGHT_INCHES = 3.0
TICKS = {5: "5 s", 15: "15 s", 60: "1 min", 300: "5 min", 1_200: "20 min", 3_600: "1 h", 7_200: "2 h"}


def power_curve_picture(
    watts: Mapping[int, float], best: Mapping[int, float] | None = None, *, theme: Theme = LIGHT
) -> bytes | None:
    """Return a PNG of mean power (W) by duration (s), with the ``best`` of earlier activities.

    Returns ``None`` without power.
    """
    if not watts:
        return None
    figure, axes = new_figure(HEIGHT_INCHES, theme)
    durations = sorted(watts)
    if best:
        before = sorted(duration for duration in best if duration <= durations[-1])
        axes.plot(before, [best[duration] for duration in before], color=VERMILLION, linewidth=2, linestyle="--")
    axes.plot(durations, [watts[duration] for duration in durations], color=theme.line, linewidth=2.6, marker="o")
    axes.set_xscale("log")
    shown = [tick for tick in TICKS if durations[0] <= tick <= durations[-1]] or durations[:1]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([TICKS.get(tick, f"{tick} s") for tick in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    style_axes(axes, theme, "", "W")
    axes.set_ylim(bottom=0)
    names = ["best of 90 days before"] if best else []
    axes.legend(
        [*names, "this activity"],
        frameon=False,
        labelcolor=theme.ink,
        fontsize=FONT_POINTS,
        ncols=2,
        columnspacing=1.2,
        handlelength=1.6,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.96),
    )
    figure.subplots_adjust(left=0.14, right=0.97, top=0.87, bottom=0.14)
    return png(figure)
