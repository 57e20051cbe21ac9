"""Colours of all pictures, on light and on dark pages; known without the libraries that draw."""

from __future__ import annotations

from dataclasses import dataclass

# From the palette of Okabe and Ito, for people with colour blindness, https://jfly.uni-koeln.de/color/.
BLUE, VERMILLION, GREEN, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9"


@dataclass(frozen=True)
class Theme:
    """Colours of background (``paper``), text (``ink``), grid (``faint``), lines and areas, and a colour map."""

    paper: str
    ink: str
    faint: str
    line: str
    filling: str
    colour_map: str = "viridis"


LIGHT = Theme(paper="#ffffff", ink="#24292f", faint="#d0d7de", line=BLUE, filling="#cfe3f2")
DARK = Theme(paper="#1c2128", ink="#e6edf3", faint="#444c56", line=SKY, filling="#24465f")
