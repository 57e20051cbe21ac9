"""The route, coloured by speed, grade or heart rate, on a plain equirectangular projection: no tiles, no network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strava_pipeline.analysis.geo import EARTH_RADIUS_M
from strava_pipeline.analysis.timeline import STANDING_MPS, Timeline, timeline_of
from strava_pipeline.analysis.track import Samples, Track
from strava_pipeline.pictures.canvas import FONT_POINTS, GREEN, LIGHT, VERMILLION, WIDTH_INCHES, Theme, new_figure, png
from strava_pipeline.units import METRIC, Units

HEIGHT_INCHES = 4.6
MOST_POINTS = 2_000
# A colour stands for the mean over this many seconds, else every bend of a sensor shows.
SMOOTHED_OVER_S = 15
# The outermost samples at either end share its colour: one sprint must not make the rest look alike.
ENDS_PERCENT = (3, 97)
# Shares of the picture: its edge, and the strip below that holds the legend.
EDGE, LEGEND = 0.01, 0.12
MARGIN = 0.1
LEAST_SIZE_M = 100.0
NICE = (1, 2, 5)


class ColourBy(StrEnum):
    """What the line's colour tells."""

    SPEED = "speed"
    GRADE = "grade"
    HEART_RATE = "heart rate"


@dataclass(frozen=True)
class _Line:
    """Metres east and north of the middle, and what colours each point (NaN: not known), all of shape (n,)."""

    east: Samples
    north: Samples
    shade: Samples


def route_picture(
    track: Track, *, colour_by: ColourBy = ColourBy.SPEED, units: Units = METRIC, theme: Theme = LIGHT
) -> bytes | None:
    """A PNG of the route with scale bar and north; ``None`` without positions. What cannot be true is left out."""
    with np.errstate(all="ignore"):
        timeline = timeline_of(track)
        line = _line(timeline, colour_by, units)
    if line is None:
        return None
    figure, axes = new_figure(HEIGHT_INCHES, theme)
    axes.set_axis_off()
    figure.subplots_adjust(left=EDGE, right=1 - EDGE, top=1 - EDGE, bottom=LEGEND)
    # A metre east is as long on the paper as a metre north.
    ratio = WIDTH_INCHES * (1 - 2 * EDGE) / (HEIGHT_INCHES * (1 - EDGE - LEGEND))
    east, north = (float(np.nanmax(np.abs(way))) for way in (line.east, line.north))
    half = (1 + MARGIN) * max(east, north * ratio, LEAST_SIZE_M)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half / ratio, half / ratio)
    _draw(figure, axes, line, colour_by, units, theme)
    _scale_bar(axes, units, theme)
    _north(axes, theme)
    return png(figure)


def projected(latitude: Samples, longitude: Samples) -> tuple[Samples, Samples]:
    """Metres east and north of the middle of the positions' bounds, shapes (n,); NaN stays NaN.

    Equirectangular: east is shrunk by the cosine of the middle latitude. Across the antimeridian the way is kept in
    one piece.
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    unwrapped = np.full(len(longitude), np.nan)
    unwrapped[known] = np.unwrap(longitude[known], period=360.0)
    middle = _middle(latitude[known])
    metres_per_degree = np.radians(1.0) * EARTH_RADIUS_M
    east = (unwrapped - _middle(unwrapped[known])) * metres_per_degree * np.cos(np.radians(middle))
    return east, np.where(known, latitude - middle, np.nan) * metres_per_degree


def _line(timeline: Timeline, colour_by: ColourBy, units: Units) -> _Line | None:
    latitude, longitude = timeline.track.latitude, timeline.track.longitude
    if latitude is None or longitude is None or not (np.isfinite(latitude) & np.isfinite(longitude)).any():
        return None
    east, north = projected(latitude, longitude)
    shade = _shade(timeline, colour_by, units, len(east))
    step = max(1, len(east) // MOST_POINTS)
    keep = np.unique(np.append(np.arange(0, len(east), step), len(east) - 1))
    return _Line(east[keep], north[keep], shade[keep])


def _shade(timeline: Timeline, colour_by: ColourBy, units: Units, count: int) -> Samples:
    """What colours the line, in the athlete's units."""
    match colour_by:
        case ColourBy.SPEED:
            values, scale = timeline.speed, units.per_hour(1.0)
        case ColourBy.GRADE:
            values, scale = timeline.track.grade, 1.0
        case ColourBy.HEART_RATE:
            values, scale = timeline.track.heart_rate, 1.0
    if values is None:
        return np.full(count, np.nan)
    return _smoothed(values, SMOOTHED_OVER_S) * scale


def _smoothed(values: Samples, width: int) -> Samples:
    """Mean of the known samples around each, over ``width`` of them."""
    if len(values) <= width:
        return values
    window = np.ones(width)
    known = np.isfinite(values)
    counts = np.convolve(known, window, mode="same")
    return np.asarray(np.convolve(np.where(known, values, 0.0), window, mode="same") / counts)


def _draw(figure: Figure, axes: Axes, line: _Line, colour_by: ColourBy, units: Units, theme: Theme) -> None:
    points = np.stack((line.east, line.north), axis=1)
    segments = np.stack((points[:-1], points[1:]), axis=1)
    whole = np.isfinite(segments).all(axis=(1, 2))
    shade = ((line.shade[:-1] + line.shade[1:]) / 2)[whole]
    segments = segments[whole]
    if len(segments):
        axes.add_collection(LineCollection(list(segments), colors=theme.ink, linewidths=5.2, capstyle="round"))
    if np.isfinite(shade).any():
        low, high = np.nanpercentile(_telling(shade, colour_by, units), ENDS_PERCENT)
        norm = Normalize(low, max(high, low + 1e-6), clip=True)
        lines = LineCollection(list(segments), cmap=theme.colour_map, norm=norm, linewidths=3.6, capstyle="round")
        lines.set_array(np.where(np.isfinite(shade), shade, low))
        axes.add_collection(lines)
        _legend(figure, lines, colour_by, units, theme)
    elif len(segments):
        axes.add_collection(LineCollection(list(segments), colors=theme.line, linewidths=3.6, capstyle="round"))
    known = points[np.isfinite(points).all(axis=1)]
    for place, colour, marker in ((known[-1], VERMILLION, "s"), (known[0], GREEN, "o")):
        axes.plot(*place, marker=marker, markersize=9, color=colour, markeredgecolor=theme.paper, zorder=5)


def _telling(shade: Samples, colour_by: ColourBy, units: Units) -> Samples:
    """What the range of colours follows: halts would take half of it."""
    moving = shade > units.per_hour(STANDING_MPS)
    return shade[moving] if colour_by is ColourBy.SPEED and moving.any() else shade


def _legend(figure: Figure, lines: LineCollection, colour_by: ColourBy, units: Units, theme: Theme) -> None:
    bar = figure.add_axes((0.30, 0.075, 0.40, 0.022))
    legend = figure.colorbar(lines, cax=bar, orientation="horizontal", ticks=MaxNLocator(5))
    unit = {ColourBy.SPEED: units.speed_name, ColourBy.GRADE: "%", ColourBy.HEART_RATE: "bpm"}[colour_by]
    legend.outline.set_visible(False)
    bar.tick_params(colors=theme.ink, labelsize=FONT_POINTS - 1, length=0)
    bar.text(
        -0.04,
        0.5,
        colour_by.value,
        transform=bar.transAxes,
        ha="right",
        va="center",
        color=theme.ink,
        fontsize=FONT_POINTS,
    )
    bar.text(1.04, 0.5, unit, transform=bar.transAxes, ha="left", va="center", color=theme.ink, fontsize=FONT_POINTS)


def _scale_bar(axes: Axes, units: Units, theme: Theme) -> None:
    """A bar of a round length, some fifth of the width, in the lower left corner."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    metres, label = _round_length((right - left) / 5, units)
    x, y = left + 0.03 * (right - left), bottom + 0.03 * (top - bottom)
    axes.plot([x, x + metres], [y, y], color=theme.ink, linewidth=3, solid_capstyle="butt")
    axes.text(
        x + metres / 2,
        y + 0.015 * (top - bottom),
        label,
        ha="center",
        va="bottom",
        color=theme.ink,
        fontsize=FONT_POINTS,
    )


def _round_length(about_m: float, units: Units) -> tuple[float, str]:
    """The longest length of the form 1, 2 or 5 times a power of ten below ``about_m``, and its label."""
    unit, name = units.distance_m, units.distance_name
    if about_m < unit:
        unit, name = units.height_m, units.height_name
    power = 10 ** np.floor(np.log10(about_m / unit))
    length = max(step * power for step in NICE if step * power <= about_m / unit)
    return float(length * unit), f"{length:,.0f} {name}"


def _north(axes: Axes, theme: Theme) -> None:
    arrow = {"arrowstyle": "-|>", "color": theme.ink, "linewidth": 1.5}
    axes.annotate(
        "", xy=(0.965, 0.99), xytext=(0.965, 0.90), xycoords="axes fraction", arrowprops=arrow, annotation_clip=False
    )
    axes.text(
        0.965,
        0.885,
        "N",
        transform=axes.transAxes,
        ha="center",
        va="top",
        color=theme.ink,
        fontsize=FONT_POINTS,
        fontweight="bold",
    )


def _middle(values: Samples) -> float:
    return float((values.min() + values.max()) / 2)
