"""What all pictures share: size, palette, and PNG bytes small enough for a mail and for Dagster's metadata."""

from __future__ import annotations

import io
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

WIDTH_INCHES = 6.4
# 960 pixels wide: sharp at the 390 points of a phone and at the 600 of a mail.
DOTS_PER_INCH = 150
COLOURS = 128
FONT_POINTS = 13
# Of Okabe and Ito's palette, which people with colour blindness tell apart, https://jfly.uni-koeln.de/color/.
BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"


@dataclass(frozen=True)
class Theme:
    """Colours of paper, ink, grid lines and lines; the map of colours for what is coloured by a figure."""

    paper: str
    ink: str
    faint: str
    line: str
    filling: str
    colour_map: str = "viridis"


LIGHT = Theme(paper="#ffffff", ink="#24292f", faint="#d0d7de", line=BLUE, filling="#cfe3f2")
DARK = Theme(paper="#1c2128", ink="#e6edf3", faint="#444c56", line=SKY, filling="#24465f")


def new_figure(height_inches: float, theme: Theme) -> tuple[Figure, Axes]:
    """An empty picture of the common width with one pair of axes."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(theme.paper)
    return figure, axes


def style_axes(axes: Axes, theme: Theme, x_label: str, y_label: str) -> None:
    """Labels, ticks and a quiet grid, no box."""
    axes.set_xlabel(x_label, color=theme.ink, fontsize=FONT_POINTS)
    axes.set_ylabel(y_label, color=theme.ink, fontsize=FONT_POINTS)
    axes.tick_params(colors=theme.ink, labelsize=FONT_POINTS, length=0)
    axes.grid(visible=True, color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def png(figure: Figure) -> bytes:
    """The picture as PNG of few colours, which is a third of the size and looks the same."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", facecolor=figure.get_facecolor())
    with Image.open(raw) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small = io.BytesIO()
    few.save(small, format="PNG", optimize=True)
    return small.getvalue()
