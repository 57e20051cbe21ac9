"""Draws 24 hours as bars, or as times on a scale of tens; the page gives colours and fonts.

Without a drawing library: the bridge stays small, and draws each time a page is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 360.0, 160.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 18.0, 24.0, 22.0
FLOOR = HEIGHT - BOTTOM
ROOM = FLOOR - TOP
# Each hour's bar takes this part of its place.
BAR = 0.78
# One rejected delivery beside ten thousand others is seen all the same.
LEAST_HEIGHT = 2.0
HOURS_PER_LABEL = 6
# The whole scale is one of these times a power of ten, so that its half is a round number, too.
STEPS = (1, 2, 4, 6, 8, 10)
SHORT = ((1_000_000_000, "bn"), (1_000_000, "M"), (1_000, "k"))
# Times at which a scale of times has its lines, s.
TIMES = ((0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"),
         (36_000, "10 h"), (360_000, "4 d"), (3_600_000, "42 d"))  # fmt: skip
MOST_TIME_LINES = 5
# Below so many s, a time is told in units of so many s, with so many digits.
UNITS = ((1.0, 0.001, 0, "ms"), (10.0, 1.0, 1, "s"), (100.0, 1.0, 0, "s"), (6000.0, 60.0, 0, "min"),
         (172_800.0, 3600.0, 1, "h"), (math.inf, 86_400.0, 0, "days"))  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line across the chart at this height, with its label."""

    y: float
    label: str


@dataclass(frozen=True)
class Hour:
    """The label of an hour below the chart."""

    x: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A part of an hour's bar; ``kind`` names what it counts, ``told`` says it in words."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    told: str


@dataclass(frozen=True)
class Mark:
    """An hour's median and longest time, as heights at ``x``; ``told`` says them in words."""

    x: float
    middle: float
    top: float
    told: str


@dataclass(frozen=True)
class Chart:
    """What is drawn: lines with labels, hours, and bars or marks."""

    lines: tuple[Line, ...]
    hours: tuple[Hour, ...]
    bars: tuple[Bar, ...] = ()
    marks: tuple[Mark, ...] = ()
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = WIDTH - RIGHT


def draw_bars(hours: Sequence[datetime], counts: Mapping[str, Mapping[datetime, int]]) -> Chart | None:
    """Draw each hour's counts on top of each other, in their order from below; ``None`` if nothing was counted."""
    totals = [sum(by_hour.get(hour, 0) for by_hour in counts.values()) for hour in hours]
    if not any(totals):
        return None
    whole = round_up(max(totals))
    bars = tuple(
        bar
        for place, hour in enumerate(hours)
        for bar in _stack(place, len(hours), whole, _of_hour(counts, hour), hour)
    )
    lines = [Line(FLOOR, "0"), Line(TOP, in_short(whole))]
    if whole > 1:
        lines.insert(1, Line(FLOOR - ROOM / 2, in_short(whole // 2)))
    return Chart(tuple(lines), _labels(hours), bars=bars)


def draw_times(hours: Sequence[datetime], times: Mapping[datetime, tuple[float, float]]) -> Chart | None:
    """Draw each hour's median and longest time, s, on a scale of tens; ``None`` if there are none."""
    known = [times[hour] for hour in hours if hour in times]
    if not known:
        return None
    lines = _time_lines(min(middle for middle, _ in known), max(longest for _, longest in known))
    low, high = math.log(lines[0][0]), math.log(lines[-1][0])

    def height_of(seconds: float) -> float:
        share = (math.log(max(seconds, lines[0][0])) - low) / (high - low)
        return round(FLOOR - min(share, 1.0) * ROOM, 1)

    marks = tuple(
        Mark(
            _middle(place, len(hours)),
            height_of(times[hour][0]),
            height_of(times[hour][1]),
            f"{hour:%H:%M}: median {in_time(times[hour][0])}, longest {in_time(times[hour][1])}",
        )
        for place, hour in enumerate(hours)
        if hour in times
    )
    return Chart(tuple(Line(height_of(at), label) for at, label in lines), _labels(hours), marks=marks)


def round_up(most: int) -> int:
    """The end of a scale from 0 on which ``most``, at least 1, has its place."""
    power: int = 10 ** (len(str(most)) - 1)
    return next(step * power for step in STEPS if step * power >= most)


def in_short(count: int) -> str:
    """A count in at most five characters, such as 950, 1.2k, 40k or 3M."""
    for size, unit in SHORT:
        if count >= size:
            return f"{count / size:.3g}{unit}" if count < 1000 * size else f"{count // size:,}{unit}"
    return str(count)


def in_time(seconds: float) -> str:
    """A time in one unit, such as 40 ms, 1.5 s, 12 s, 3 min, 2.5 h or 4 days."""
    return next(f"{seconds / size:,.{digits}f} {unit}" for below, size, digits, unit in UNITS if seconds < below)


def _of_hour(counts: Mapping[str, Mapping[datetime, int]], hour: datetime) -> dict[str, int]:
    return {kind: by_hour[hour] for kind, by_hour in counts.items() if by_hour.get(hour)}


def _stack(place: int, places: int, whole: int, counts: Mapping[str, int], hour: datetime) -> list[Bar]:
    """The parts of one hour's bar, from below."""
    slot = (WIDTH - LEFT - RIGHT) / places
    x = round(_middle(place, places) - slot * BAR / 2, 1)
    told = f"{hour:%H:%M}: " + ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    bars, y = [], FLOOR
    for kind, count in counts.items():
        height = round(max(count / whole * ROOM, LEAST_HEIGHT), 1)
        y = round(y - height, 1)
        bars.append(Bar(kind, x, y, round(slot * BAR, 1), height, told))
    return bars


def _middle(place: int, places: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) / places * (place + 0.5), 1)


def _labels(hours: Sequence[datetime]) -> tuple[Hour, ...]:
    return tuple(
        Hour(_middle(place, len(hours)), f"{hour:%H:%M}")
        for place, hour in enumerate(hours)
        if hour.hour % HOURS_PER_LABEL == 0
    )


def _time_lines(least: float, most: float) -> Sequence[tuple[float, str]]:
    """The lines from the one below ``least`` to the one above ``most``, some left out if there are too many."""
    first = max((place for place, (at, _) in enumerate(TIMES) if at <= least), default=0)
    last = next((place for place, (at, _) in enumerate(TIMES) if at >= most and place > first), len(TIMES) - 1)
    lines = TIMES[min(first, last - 1) : last + 1]
    step = -(-len(lines) // MOST_TIME_LINES)
    # Both ends stay, or what lies beyond a line would seem to lie on it.
    places = [place for place in range(0, len(lines) - 1, step) if place == 0 or place + step < len(lines)]
    return [lines[place] for place in (*places, -1)]
