"""Charts keep their picture whatever the figures are: none, one beside ten thousand, billions, milliseconds, weeks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from webhook_bridge import charts
from webhook_bridge.charts import Chart, draw_bars, draw_times, in_short, in_time, round_up

HOURS = tuple(datetime(2026, 3, 1, tzinfo=UTC) + number * timedelta(hours=1) for number in range(24))


def bars(**counts: Mapping[int, int]) -> Chart:
    drawn = draw_bars(HOURS, {kind: {HOURS[at]: count for at, count in each.items()} for kind, each in counts.items()})
    assert drawn is not None
    return drawn


def times(*seconds: tuple[float, float]) -> Chart:
    drawn = draw_times(HOURS, dict(zip(HOURS, seconds, strict=False)))
    assert drawn is not None
    return drawn


def test_nothing_is_drawn_of_nothing() -> None:
    assert draw_bars(HOURS, {}) is None
    assert draw_bars(HOURS, {"stored": {HOURS[3]: 0}}) is None
    assert draw_times(HOURS, {}) is None


def test_an_hours_bar_is_as_high_as_its_count_on_the_scale() -> None:
    drawn = bars(stored={5: 100, 6: 50})
    assert [line.label for line in drawn.lines] == ["0", "50", "100"]
    whole, half = drawn.bars
    assert (whole.y, whole.y + whole.height) == (charts.TOP, charts.FLOOR)
    assert half.height == pytest.approx(whole.height / 2, abs=0.1)
    assert half.x > whole.x + whole.width


def test_parts_of_an_hour_stand_on_each_other() -> None:
    below, above = bars(stored={0: 30}, duplicate={0: 10}).bars
    assert (below.kind, above.kind) == ("stored", "duplicate")
    assert above.y + above.height == pytest.approx(below.y, abs=0.1)
    assert below.told == above.told == "00:00: 30 stored, 10 duplicate"


def test_one_of_a_kind_is_seen_beside_ten_thousand() -> None:
    _, rejected = bars(stored={0: 10_000}, rejected={0: 1}).bars
    assert rejected.height >= charts.LEAST_HEIGHT
    assert rejected.y > 0


def test_every_bar_lies_within_the_picture_however_large_the_counts_are() -> None:
    drawn = bars(stored={number: 10 ** (number // 2) for number in range(24)}, rejected=dict.fromkeys(range(24), 1))
    assert all(0 <= bar.y <= bar.y + bar.height <= charts.FLOOR + 0.1 for bar in drawn.bars)
    assert all(drawn.left <= bar.x <= bar.x + bar.width <= drawn.right for bar in drawn.bars)
    assert all(len(line.label) <= 7 for line in drawn.lines)


def test_a_single_call_has_a_scale_of_whole_numbers() -> None:
    assert [line.label for line in bars(stored={0: 1}).lines] == ["0", "1"]


@pytest.mark.parametrize(("most", "end"), [(1, 1), (3, 4), (5, 6), (7, 8), (9, 10), (11, 20), (101, 200), (999, 1000)])
def test_a_scale_ends_at_a_round_number(most: int, end: int) -> None:
    assert round_up(most) == end


def test_every_sixth_hour_has_a_label() -> None:
    assert [hour.label for hour in bars(stored={0: 1}).hours] == ["00:00", "06:00", "12:00", "18:00"]


def test_times_lie_on_a_scale_of_tens() -> None:
    drawn = times((1, 10), (10, 60))
    assert [line.label for line in drawn.lines] == ["1 s", "10 s", "1 min"]
    first, second = drawn.marks
    assert (first.middle, second.top) == (charts.FLOOR, charts.TOP)
    assert first.top == second.middle == next(line.y for line in drawn.lines if line.label == "10 s")
    assert first.told == "00:00: median 1.0 s, longest 10 s"


@pytest.mark.parametrize("seconds", [(0, 0), (0.0001, 0.0002), (5, 5), (1, 1e9), (1e9, 1e9)])
def test_times_of_any_length_are_within_the_picture(seconds: tuple[float, float]) -> None:
    drawn = times(seconds)
    assert 2 <= len(drawn.lines) <= charts.MOST_TIME_LINES
    assert all(charts.TOP <= line.y <= charts.FLOOR for line in drawn.lines)
    assert all(charts.TOP <= mark.top <= mark.middle <= charts.FLOOR for mark in drawn.marks)


def test_the_scale_of_times_reaches_from_the_shortest_to_the_longest() -> None:
    drawn = times((0.02, 0.02), (1e6, 1e6))
    shortest, longest = drawn.marks
    assert drawn.lines[0].label == "10 ms"
    assert longest.top > drawn.lines[-1].y
    assert drawn.lines[1].y < shortest.middle < drawn.lines[0].y


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (950, "950"), (1200, "1.2k"), (40_000, "40k"), (3_000_000, "3M"), (10**9, "1bn"), (10**13, "10,000bn")],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert in_short(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.04, "40 ms"), (3.14, "3.1 s"), (42, "42 s"), (180, "3 min"), (9000, "2.5 h"), (345_600, "4 days")],
)
def test_times_have_one_unit(seconds: float, text: str) -> None:
    assert in_time(seconds) == text
