"""The fitness chart: fitness, fatigue and form over the last months."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from strava_pipeline.pictures.canvas import FONT_POINTS, new_figure, png, style_axes
from strava_pipeline.pictures.themes import GREEN, LIGHT, VERMILLION, Theme

HEIGHT_INCHES = 3.0
MOST_DAYS = 1_500
# The chart of fewer days would be empty.
LEAST_DAYS = 2
MOST_TICKS = 5
# Beyond this the ticks show month and year instead of day and month.
DAYS_WITH_DATES = 400


class FitnessDay(Protocol):
    """A row of ``training_load``."""

    @property
    def day(self) -> date: ...
    @property
    def fitness(self) -> float: ...
    @property
    def fatigue(self) -> float: ...
    @property
    def form(self) -> float: ...


def fitness_picture(days: Sequence[FitnessDay], *, theme: Theme = LIGHT) -> bytes | None:
    """Return a PNG of consecutive days, oldest first; ``None`` for fewer than two days."""
    if len(days) < LEAST_DAYS:
        return None
    shown = days[:: max(1, len(days) // MOST_DAYS)]
    when = [day.day.toordinal() for day in shown]
    form = np.array([day.form for day in shown])
    figure, axes = new_figure(HEIGHT_INCHES, theme)
    axes.axhline(0, color=theme.ink, linewidth=0.8)
    axes.fill_between(when, form, 0, color=GREEN, alpha=0.3, linewidth=0, label="form")
    axes.plot(when, [day.fatigue for day in shown], color=VERMILLION, linewidth=1.6, linestyle="--", label="fatigue")
    axes.plot(when, [day.fitness for day in shown], color=theme.line, linewidth=2.6, label="fitness")
    axes.set_xlim(when[0], when[-1])
    style_axes(axes, theme, "", "")
    _label_days(axes, when[0], when[-1])
    axes.legend(
        frameon=False,
        labelcolor=theme.ink,
        fontsize=FONT_POINTS,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.96),
    )
    figure.subplots_adjust(left=0.10, right=0.95, top=0.87, bottom=0.14)
    return png(figure)


def _label_days(axes: Axes, first: int, last: int) -> None:
    """Set evenly spread ticks at whole days."""
    ticks = sorted({round(tick) for tick in np.linspace(first, last, MOST_TICKS)})
    form = "%b %Y" if last - first > DAYS_WITH_DATES else "%-d %b"
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{date.fromordinal(tick):{form}}" for tick in ticks]))
