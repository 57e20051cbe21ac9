"""Stores athletes' profiles, gear, totals (a snapshot per day), and zones with the day from which they are valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update

from strava_pipeline.warehouse.athletes.told_profiles import settle_profile
from strava_pipeline.warehouse.bulk import store_changed, store_newer
from strava_pipeline.warehouse.schema.tables import activities, athlete_stats, athlete_zones, athletes, gear

Row = dict[str, Any]
ZONE_FIELDS = ("zone", "min", "max", "custom_zones")


def store_athlete(connection: Connection, row: Row, asked_at: datetime) -> None:
    """Store one athlete's profile, unless a newer one is stored. ``asked_at``: when Strava was asked (UTC).

    Columns that the row lacks, because it comes from a summary, keep what is stored. What it tells nothing of, archives
    may tell.
    """
    if store_newer(connection, athletes, [row | {"fetched_at": asked_at}]):
        settle_profile(connection, row["id"], row.keys())


def store_gear(connection: Connection, rows: Sequence[Row], asked_at: datetime) -> None:
    """Store bikes and shoes; columns that a row lacks, because it comes from a summary, keep what is stored."""
    for row in rows:
        store_changed(connection, gear, [row | {"fetched_at": asked_at}])


def unknown_gear(connection: Connection, athlete_id: int) -> list[str]:
    """Return the ids of gear that an athlete's stored activities name, and that is not stored, sorted.

    Such gear was retired or sold.
    """
    known = exists().where(gear.c.id == activities.c.gear_id)
    query = (
        select(activities.c.gear_id)
        .where(activities.c.athlete_id == athlete_id, activities.c.gear_id.is_not(None), ~known)
        .distinct()
        .order_by(activities.c.gear_id)
    )
    return [str(found) for found in connection.execute(query).scalars()]


def store_stats(connection: Connection, rows: Sequence[Row], asked_at: datetime) -> None:
    """Store an athlete's totals as the snapshot of the UTC day; the last one of a day is kept."""
    taken_on = asked_at.astimezone(UTC).date()
    stamped = [row | {"taken_on": taken_on, "fetched_at": asked_at} for row in rows]
    store_newer(connection, athlete_stats, stamped)


def store_zones(
    connection: Connection, athlete_id: int, zones: Mapping[str, Sequence[Row]], asked_at: datetime
) -> list[str]:
    """Store a new set of zones for each kind whose zones differ from the newest stored set; return these kinds.

    A kind that Strava no longer returns keeps its stored zones, because past activities were done in them.
    """
    # The row's lock keeps two processes from comparing and inserting an athlete's zones at the same time.
    connection.execute(select(athletes.c.id).where(athletes.c.id == athlete_id).with_for_update())
    return [kind for kind, rows in zones.items() if _store_kind(connection, athlete_id, kind, rows, asked_at)]


def _store_kind(connection: Connection, athlete_id: int, kind: str, rows: Sequence[Row], asked_at: datetime) -> bool:
    ours = (athlete_zones.c.athlete_id == athlete_id, athlete_zones.c.kind == kind)
    newest = select(func.max(athlete_zones.c.valid_from)).where(*ours).scalar_subquery()
    of_newest = (*ours, athlete_zones.c.valid_from == newest)
    stored = connection.execute(select(athlete_zones).where(*of_newest).order_by(athlete_zones.c.zone)).mappings().all()
    if any(row["fetched_at"] > asked_at for row in stored):
        return False
    if [_compared(dict(row)) for row in stored] == [_compared(row) for row in rows]:
        connection.execute(update(athlete_zones).where(*of_newest).values(fetched_at=asked_at))
        return False
    today: date = asked_at.astimezone(UTC).date()
    connection.execute(delete(athlete_zones).where(*ours, athlete_zones.c.valid_from == today))
    key = {"athlete_id": athlete_id, "kind": kind, "valid_from": today, "fetched_at": asked_at}
    store_newer(connection, athlete_zones, [key | row for row in rows])
    return True


def _compared(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ZONE_FIELDS)
