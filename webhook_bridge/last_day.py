"""The last 24 hours as three charts for the operator's page: calls to Strava, deliveries, processing times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from strava_pipeline.warehouse.states import DeliveryOutcome
from strava_pipeline.warehouse.watch.deliveries import DeliveriesOfHour, deliveries_by_hour
from strava_pipeline.warehouse.watch.last_day import (
    CallResult,
    Calls,
    Processing,
    calls_by_hour,
    calls_by_lane,
    calls_of,
    last_hours,
    processing_by_hour,
)
from webhook_bridge.charts import Chart, draw_bars, draw_times, in_time

Row = tuple[datetime, tuple[str, ...]]
NONE = "-"


@dataclass(frozen=True)
class Figure:
    """A chart, ``None`` if there is nothing to draw, with its figures.

    ``legend``: what a colour means with the day's sum, by the name of the colour. ``note``: a sentence below the
    chart. ``heads`` and ``rows``: the table's columns, and its hours, oldest first.
    """

    chart: Chart | None
    legend: Mapping[str, str]
    heads: Sequence[str]
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class LastDay:
    """The three charts."""

    calls: Figure
    deliveries: Figure
    processing: Figure


def read_last_day(connection: Connection, moment: datetime) -> LastDay:
    """Read and draw the 24 hours before ``moment`` (UTC)."""
    hours = last_hours(moment)
    return LastDay(
        calls=figure_of_calls(hours, calls_by_hour(connection, moment)),
        deliveries=figure_of_deliveries(hours, deliveries_by_hour(connection, len(hours))),
        processing=figure_of_processing(hours, processing_by_hour(connection, moment)),
    )


def figure_of_calls(hours: Sequence[datetime], calls: Sequence[Calls]) -> Figure:
    """Bars by result; the note tells the lanes."""
    lanes = ", ".join(f"{lane} {count:,}" for lane, count in calls_by_lane(calls).items())
    results = {result.value: calls_of(calls, result) for result in CallResult}
    return counted(hours, results, f"By lane: {lanes}." if lanes else "")


def figure_of_deliveries(hours: Sequence[datetime], deliveries: Sequence[DeliveriesOfHour]) -> Figure:
    """Bars by outcome; the note tells how fast they were answered."""
    outcomes = {
        outcome.value: {each.hour: getattr(each, outcome.value) for each in deliveries} for outcome in DeliveryOutcome
    }
    slowest_s = max((each.slowest_ms for each in deliveries), default=0) / 1000
    return counted(hours, outcomes, f"The slowest answer to Strava took {in_time(slowest_s)}.")


def figure_of_processing(hours: Sequence[datetime], processing: Sequence[Processing]) -> Figure:
    """Median and longest time of each hour."""
    by_hour = {each.hour: each for each in processing}
    rows = [(hour, _cells(by_hour[hour]) if hour in by_hour else (NONE,) * 3) for hour in hours]
    times = {each.hour: (each.median_s, each.longest_s) for each in processing}
    events = sum(each.events for each in processing)
    return Figure(
        chart=draw_times(hours, times),
        legend={"median": "median", "longest": "longest"},
        heads=("Events", "Median", "Longest"),
        rows=rows,
        note=f"{events:,} events, from Strava's delivery to the stored row.",
    )


def counted(hours: Sequence[datetime], counts: Mapping[str, Mapping[datetime, int]], note: str = "") -> Figure:
    """Bars of counts by kind and hour."""
    return Figure(
        chart=draw_bars(hours, counts),
        legend={kind: f"{kind} {sum(by_hour.values()):,}" for kind, by_hour in counts.items()},
        heads=tuple(kind.capitalize() for kind in counts),
        rows=[(hour, tuple(f"{by_hour.get(hour, 0):,}" for by_hour in counts.values())) for hour in hours],
        note=note,
    )


def _cells(each: Processing) -> tuple[str, ...]:
    return f"{each.events:,}", in_time(each.median_s), in_time(each.longest_s)
