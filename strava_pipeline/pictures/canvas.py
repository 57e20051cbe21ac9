"""Size, axes and PNG output of all pictures; the PNG is small enough for a mail."""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from strava_pipeline.pictures.themes import Theme

WIDTH_INCHES = 6.4
# A picture is 960 pixels wide, which is sharp on a phone (390 points) and in a mail (600 points).
DOTS_PER_INCH = 150
COLOURS = 128
FONT_POINTS = 13


def new_figure(height_inches: float, theme: Theme) -> tuple[Figure, Axes]:
    """Return an empty picture of the common width, and its axes."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(theme.paper)
    return figure, axes


def style_axes(axes: Axes, theme: Theme, x_label: str, y_label: str) -> None:
    """Set labels, ticks and a faint grid; hide the box."""
    axes.set_xlabel(x_label, color=theme.ink, fontsize=FONT_POINTS)
    axes.set_ylabel(y_label, color=theme.ink, fontsize=FONT_POINTS)
    axes.tick_params(colors=theme.ink, labelsize=FONT_POINTS, length=0)
    axes.grid(visible=True, color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def png(figure: Figure) -> bytes:
    """Return the picture as a PNG of 128 colours, a third of the size of a full one."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", facecolor=figure.get_facecolor())
    with Image.open(raw) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    few.save(small, format="PNG", optimize=True)
    return small.getvalue()
