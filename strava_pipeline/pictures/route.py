"""The route, coloured by speed, grade or heart rate, on an equirectangular projection without map tiles."""

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
from strava_pipeline.analysis.moving import STANDING_MPS
from strava_pipeline.analysis.timeline import Timeline, build_timeline
from strava_pipeline.analysis.track import Samples, Track
from strava_pipeline.pictures.canvas import FONT_POINTS, WIDTH_INCHES, new_figure, png
from strava_pipeline.pictures.themes import GREEN, LIGHT, VERMILLION, Theme
from strava_pipeline.units import METRIC, Units

HEIGHT_INCHES = 4.6
MOST_POINTS = 2_000
# Each colour shows the mean over this many samples, so that noise of the sensor is not visible.
SMOOTHING_SAMPLES = 15
# The colours span these percentiles, so that one sprint does not give all other samples similar colours.
ENDS_PERCENT = (3, 97)
# Shares of the picture: the margin, and the strip for the legend below.
EDGE, LEGEND = 0.01, 0.12
MARGIN = 0.1
LEAST_SIZE_M = 100.0
ROUND_STEPS = (1, 2, 5)


class ColourBy(StrEnum):
    """The quantity that the colour of the line shows."""

    SPEED = "speed"
    GRADE = "grade"
    HEART_RATE = "heart rate"


@dataclass(frozen=True)
class _Line:
    """Metres east and north of the middle, and the coloured quantity (NaN: missing), all of shape (n,)."""

    east: Samples
    north: Samples
    shade: Samples


def route_picture(
    track: Track, *, colour_by: ColourBy = ColourBy.SPEED, units: Units = METRIC, theme: Theme = LIGHT
) -> bytes | None:
    """Return a PNG of the cleaned route with scale bar and north arrow; ``None`` without positions."""
    with np.errstate(all="ignore"):
        timeline = build_timeline(track)
        line = _coloured_line(timeline, colour_by, units)
    if line is None:
        return None
    figure, axes = new_figure(HEIGHT_INCHES, theme)
    axes.set_axis_off()
    figure.subplots_adjust(left=EDGE, right=1 - EDGE, top=1 - EDGE, bottom=LEGEND)
    # A metre east is drawn as long as a metre north.
    ratio = WIDTH_INCHES * (1 - 2 * EDGE) / (HEIGHT_INCHES * (1 - EDGE - LEGEND))
    east, north = (float(np.nanmax(np.abs(way))) for way in (line.east, line.north))
    half = (1 + MARGIN) * max(east, north * ratio, LEAST_SIZE_M)
    axes.set_xlim(-half, half)
    axes.set_ylim(-half / ratio, half / ratio)
    _draw_line(figure, axes, line, colour_by, units, theme)
    _draw_scale_bar(axes, units, theme)
    _draw_north_arrow(axes, theme)
    return png(figure)


def project_from_middle(latitude: Samples, longitude: Samples) -> tuple[Samples, Samples]:
    """Return metres east and north of the middle of the positions' bounds, shapes (n,); NaN stays NaN.

    The projection is equirectangular: east is multiplied by the cosine of the middle latitude. A route across the
    antimeridian stays in one piece.
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    unwrapped = np.full(len(longitude), np.nan)
    unwrapped[known] = np.unwrap(longitude[known], period=360.0)
    middle = _middle(latitude[known])
    metres_per_degree = np.radians(1.0) * EARTH_RADIUS_M
    east = (unwrapped - _middle(unwrapped[known])) * metres_per_degree * np.cos(np.radians(middle))
    return east, np.where(known, latitude - middle, np.nan) * metres_per_degree


def _coloured_line(timeline: Timeline, colour_by: ColourBy, units: Units) -> _Line | None:
    latitude, longitude = timeline.track.latitude, timeline.track.longitude
    if latitude is None or longitude is None or not (np.isfinite(latitude) & np.isfinite(longitude)).any():
        return None
    east, north = project_from_middle(latitude, longitude)
    shade = _coloured_quantity(timeline, colour_by, units, len(east))
    step = max(1, len(east) // MOST_POINTS)
    keep = np.unique(np.append(np.arange(0, len(east), step), len(east) - 1))
    return _Line(east[keep], north[keep], shade[keep])


def _coloured_quantity(timeline: Timeline, colour_by: ColourBy, units: Units, count: int) -> Samples:
    """Return the coloured quantity in the athlete's units, shape (n,); NaN where it is missing."""
    match colour_by:
        case ColourBy.SPEED:
            values, scale = timeline.speed, units.per_hour(1.0)
        case ColourBy.GRADE:
            values, scale = timeline.track.grade, 1.0
        case ColourBy.HEART_RATE:
            values, scale = timeline.track.heart_rate, 1.0
    if values is None:
        return np.full(count, np.nan)
    return _moving_mean(values, SMOOTHING_SAMPLES) * scale


def _moving_mean(values: Samples, width: int) -> Samples:
    """Return the moving mean of the known samples over ``width`` samples."""
    if len(values) <= width:
        return values
    window = np.ones(width)
    known = np.isfinite(values)
    counts = np.convolve(known, window, mode="same")
    return np.asarray(np.convolve(np.where(known, values, 0.0), window, mode="same") / counts)


def _draw_line(figure: Figure, axes: Axes, line: _Line, colour_by: ColourBy, units: Units, theme: Theme) -> None:
    points = np.stack((line.east, line.north), axis=1)
    segments = np.stack((points[:-1], points[1:]), axis=1)
    whole = np.isfinite(segments).all(axis=(1, 2))
    shade = ((line.shade[:-1] + line.shade[1:]) / 2)[whole]
    segments = segments[whole]
    if len(segments):
        axes.add_collection(LineCollection(list(segments), colors=theme.ink, linewidths=5.2, capstyle="round"))
    if np.isfinite(shade).any():
        low, high = np.nanpercentile(_colour_range(shade, colour_by, units), ENDS_PERCENT)
        norm = Normalize(low, max(high, low + 1e-6), clip=True)
        lines = LineCollection(list(segments), cmap=theme.colour_map, norm=norm, linewidths=3.6, capstyle="round")
        lines.set_array(np.where(np.isfinite(shade), shade, low))
        axes.add_collection(lines)
        _draw_legend(figure, lines, colour_by, units, theme)
    elif len(segments):
        axes.add_collection(LineCollection(list(segments), colors=theme.line, linewidths=3.6, capstyle="round"))
    known = points[np.isfinite(points).all(axis=1)]
    for place, colour, marker in ((known[-1], VERMILLION, "s"), (known[0], GREEN, "o")):
        axes.plot(*place, marker=marker, markersize=9, color=colour, markeredgecolor=theme.paper, zorder=5)


def _colour_range(shade: Samples, colour_by: ColourBy, units: Units) -> Samples:
    """Return the values that set the range of colours; halts are left out, since they would take half of it."""
    moving = shade > units.per_hour(STANDING_MPS)
    return shade[moving] if colour_by is ColourBy.SPEED and moving.any() else shade


def _draw_legend(figure: Figure, lines: LineCollection, colour_by: ColourBy, units: Units, theme: Theme) -> None:
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


def _draw_scale_bar(axes: Axes, units: Units, theme: Theme) -> None:
    """Draw a bar of a round length, about a fifth of the width, in the lower left corner."""
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
    """Return the longest length below ``about_m`` that is 1, 2 or 5 times a power of ten, and its label."""
    unit, name = units.distance_m, units.distance_name
    if about_m < unit:
        unit, name = units.height_m, units.height_name
    power = 10 ** np.floor(np.log10(about_m / unit))
    length = max(step * power for step in ROUND_STEPS if step * power <= about_m / unit)
    return float(length * unit), f"{length:,.0f} {name}"


def _draw_north_arrow(axes: Axes, theme: Theme) -> None:
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
