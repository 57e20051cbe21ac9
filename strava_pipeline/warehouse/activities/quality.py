"""Finds what may be wrong with the tables: values out of range, incomplete activities, athletes without events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from strava_pipeline.warehouse.activities.outdated import lacks_detail
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.ops_tables import payloads, users, webhook_events
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import GrantState, PayloadKind

HIGHEST_HEARTRATE_BPM = 250
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
    tests: dict[str, ColumnElement[bool]] = {
        "a distance below zero": a.distance < 0,
        "a time below zero": or_(a.elapsed_time < 0, a.moving_time < 0),
        f"a heart rate over {HIGHEST_HEARTRATE_BPM} bpm": a.max_heartrate > HIGHEST_HEARTRATE_BPM,
        "a start in the future": a.start_date > database_time() + FUTURE,
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
    earlier, later = activities.alias("earlier"), activities.alias("later")
    query = (
        select(later.c.athlete_id, later.c.id, func.min(earlier.c.id).label("first"))
        .join(
            earlier,
            and_(
                earlier.c.athlete_id == later.c.athlete_id,
                earlier.c.start_date == later.c.start_date,
                earlier.c.elapsed_time == later.c.elapsed_time,
                earlier.c.sport_type == later.c.sport_type,
                earlier.c.id < later.c.id,
            ),
        )
        .group_by(later.c.athlete_id, later.c.id, later.c.start_date)
        .order_by(later.c.start_date.desc())
        .limit(limit)
    )
    return [OutOfRange(row.athlete_id, row.id, f"as activity {row.first}") for row in connection.execute(query)]


def without_detail(connection: Connection) -> list[Missing]:
    """Count, by athlete, the listed activities whose current detail is not stored."""
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    query = (
        select(activities.c.athlete_id, func.count(), func.count().filter(_is_put_aside("detail")))
        .join(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .where(lacks_detail(summary, detail))
        .group_by(activities.c.athlete_id)
        .order_by(activities.c.athlete_id)
    )
    return [Missing(row[0], row[1] - row[2], row[2]) for row in connection.execute(query)]


def without_streams(connection: Connection) -> list[Missing]:
    """Count, by athlete, the activities that lack their samples."""
    query = (
        select(activities.c.athlete_id, func.count(), func.count().filter(_is_put_aside("streams")))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(lacks_samples())
        .group_by(activities.c.athlete_id)
        .order_by(activities.c.athlete_id)
    )
    return [Missing(row[0], row[1] - row[2], row[2]) for row in connection.execute(query)]


def silences(connection: Connection) -> list[Silence]:
    """The last webhook event of each connected athlete, the longest silence first."""
    last = func.max(webhook_events.c.received_at)
    query = (
        select(users.c.athlete_id, last)
        .outerjoin(
            webhook_events,
            and_(webhook_events.c.owner_id == users.c.athlete_id, webhook_events.c.source == "webhook"),
        )
        .where(users.c.state == GrantState.ACTIVE)
        .group_by(users.c.athlete_id)
        .order_by(last.asc().nulls_first(), users.c.athlete_id)
    )
    return [Silence(row[0], row[1]) for row in connection.execute(query)]


def _is_put_aside(step: str) -> ColumnElement[bool]:
    return exists().where(put_aside.c.activity_id == activities.c.id, put_aside.c.step == step)
