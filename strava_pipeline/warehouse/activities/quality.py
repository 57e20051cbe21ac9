"""Tells what may be wrong with the tables: values out of range, incomplete activities, athletes without events.

What is told by month is as of the month's last check: call
:func:`~strava_pipeline.warehouse.activities.month_checks.check_changed_months` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, func, literal_column, or_, select

from strava_pipeline.warehouse.activities.month_checks import is_same_recording, starts_in
from strava_pipeline.warehouse.inbox.overview import last_delivery
from strava_pipeline.warehouse.schema.check_tables import month_checks
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import HIGHEST_HEARTRATE_BPM, activities
from strava_pipeline.warehouse.states import GrantState

# A device's clock may be wrong by this much, and the day may have begun elsewhere.
FUTURE = timedelta(days=1)


@dataclass(frozen=True)
class OutOfRange:
    """One activity with an impossible value, or with a twin; ``what`` says which."""

    athlete_id: int
    activity_id: int
    what: str


@dataclass(frozen=True)
class Missing:
    """How many activities of one athlete lack something; ``explained``: those of them in quarantine with a reason."""

    athlete_id: int
    unexplained: int
    explained: int


@dataclass(frozen=True)
class Silence:
    """When the last event about a connected athlete arrived (UTC), if ever."""

    athlete_id: int
    last_event_at: datetime | None


def out_of_range(connection: Connection, limit: int = 100) -> list[OutOfRange]:
    """Activities with impossible values, at most ``limit``; those with one fault together, newest first."""
    a = activities.c
    # The index of OUT_OF_RANGE holds what fails one of the first three, written alike.
    zero: ColumnElement[int] = literal_column("0")
    highest: ColumnElement[int] = literal_column(str(HIGHEST_HEARTRATE_BPM))
    tests: dict[str, ColumnElement[bool]] = {
        "a distance below zero": a.distance < zero,
        "a time below zero": or_(a.elapsed_time < zero, a.moving_time < zero),
        f"a heart rate over {HIGHEST_HEARTRATE_BPM} bpm": a.max_heartrate > highest,
        # Asked for once: the time of a call for each row would be found by no index.
        "a start in the future": a.start_date > select(database_time() + FUTURE).scalar_subquery(),
    }
    found = []
    for what, test in tests.items():
        query = select(a.athlete_id, a.id).where(test).order_by(a.start_date.desc()).limit(limit)
        found += [OutOfRange(row.athlete_id, row.id, what) for row in connection.execute(query)]
    return found[:limit]


def recorded_twice(connection: Connection, limit: int = 100) -> list[OutOfRange]:
    """Activities with the start, length and sport of another one of the same athlete, newest first.

    Each id is stored once; but two devices, or a file uploaded again under another id, count a ride twice.
    """
    months = (
        select(month_checks.c.athlete_id, month_checks.c.month)
        .where(month_checks.c.twice > 0)
        .order_by(month_checks.c.month.desc())
        .limit(limit)
        .subquery("months")
    )
    earlier = activities.alias("earlier")
    query = (
        select(activities.c.athlete_id, activities.c.id, func.min(earlier.c.id).label("first"))
        .select_from(months)
        .join(activities, starts_in(months.c.athlete_id, months.c.month))
        .join(earlier, is_same_recording(earlier, activities))
        .group_by(activities.c.id)
        .order_by(activities.c.start_date.desc())
        .limit(limit)
    )
    return [OutOfRange(row.athlete_id, row.id, f"as activity {row.first}") for row in connection.execute(query)]


def without_detail(connection: Connection) -> list[Missing]:
    """Count, by athlete, the listed activities whose current detail is not stored."""
    return _missing(connection, month_checks.c.lacks_detail, month_checks.c.detail_aside)


def without_streams(connection: Connection) -> list[Missing]:
    """Count, by athlete, the activities that lack their samples."""
    return _missing(connection, month_checks.c.lacks_samples, month_checks.c.samples_aside)


def silences(connection: Connection) -> list[Silence]:
    """The last webhook event of each connected athlete, the longest silence first."""
    last = last_delivery(users.c.athlete_id).label("last")
    query = (
        select(users.c.athlete_id, last)
        .where(users.c.state == GrantState.ACTIVE)
        .order_by(last.asc().nulls_first(), users.c.athlete_id)
    )
    return [Silence(row[0], row[1]) for row in connection.execute(query)]


def _missing(connection: Connection, lacking: Column[Any], aside: Column[Any]) -> list[Missing]:
    """Add up the months' counts by athlete."""
    athlete = month_checks.c.athlete_id
    query = select(athlete, func.sum(lacking), func.sum(aside)).where(lacking > 0).group_by(athlete).order_by(athlete)
    return [Missing(row[0], row[1] - row[2], row[2]) for row in connection.execute(query)]
