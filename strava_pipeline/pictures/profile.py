"""The elevation profile with shaded climbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.ticker import MaxNLocator

from strava_pipeline.analysis.elevation import elevation_profile
from strava_pipeline.analysis.timeline import build_timeline
from strava_pipeline.analysis.track import Track
from strava_pipeline.pictures.canvas import FONT_POINTS, new_figure, png, style_axes
from strava_pipeline.pictures.themes import LIGHT, ORANGE, Theme
from strava_pipeline.units import METRIC, Units

HEIGHT_INCHES = 2.7
MOST_POINTS = 1_500
# The vertical axis covers at least this, so that a flat ride does not look mountainous.
LEAST_HEIGHT_M = 60.0
# A climb that takes a smaller share of the distance has no room for its category.
MIN_NAMED_SHARE = 0.06


class Climb(Protocol):
    """A climb of the analysis, or a row of its table."""

    @property
    def start_m(self) -> float: ...
    @property
    def end_m(self) -> float: ...
    @property
    def category(self) -> str | None: ...


def profile_picture(
    track: Track, climbs: Sequence[Climb] = (), *, units: Units = METRIC, theme: Theme = LIGHT
) -> bytes | None:
    """Return a PNG of the elevation profile; ``None`` without altitude, or if the athlete did not move."""
    with np.errstate(all="ignore"):
        profile = elevation_profile(build_timeline(track))
    if profile is None:
        return None
    step = max(1, len(profile.along_m) // MOST_POINTS)
    along = profile.along_m[::step] / units.distance_m
    heights = profile.altitude_m[::step] / units.height_m
    if not np.isfinite(heights).any():
        return None
    figure, axes = new_figure(HEIGHT_INCHES, theme)
    low, high = float(np.nanmin(heights)), float(np.nanmax(heights))
    room = max(high - low, LEAST_HEIGHT_M / units.height_m)
    floor = low - 0.1 * room
    axes.fill_between(along, heights, floor, color=theme.filling, linewidth=0)
    for climb in climbs:
        start, end = climb.start_m / units.distance_m, climb.end_m / units.distance_m
        inside = (along >= start) & (along <= end)
        axes.fill_between(along, heights, floor, where=inside.tolist(), color=ORANGE, alpha=0.75, linewidth=0)
        if climb.category is not None and end - start > MIN_NAMED_SHARE * along[-1]:
            axes.text(
                (start + end) / 2,
                floor + 0.05 * room,
                climb.category,
                ha="center",
                color="#24292f",
                fontsize=FONT_POINTS,
            )
    axes.plot(along, heights, color=theme.line, linewidth=2)
    axes.set_xlim(0, max(float(along[-1]), 1e-9))
    axes.set_ylim(floor, low + 1.1 * room)
    style_axes(axes, theme, units.distance_name, units.height_name)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if climbs:
        axes.text(
            1, 1.02, "shaded: climbs", transform=axes.transAxes, ha="right", color=theme.ink, fontsize=FONT_POINTS
        )
    figure.subplots_adjust(left=0.14, right=0.97, top=0.90, bottom=0.24)
    return png(figure)
