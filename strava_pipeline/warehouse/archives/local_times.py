"""Local times of activities whose offset no source tells: that of the athlete's nearest activity is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, text

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.engine import driver_errors

# Known are offsets that the API or a device told. Without any, the zone that the newest import was told counts.
# Windows read each activity once, however many there are; of two equally near ones the earlier counts.
_ZONE = """
    SELECT options->>'timezone' AS name FROM ops.archive_imports
    WHERE athlete_id = :athlete_id AND state <> 'undone' AND options->>'timezone' IS NOT NULL
    ORDER BY taken_at DESC, content_hash LIMIT 1
"""
_CHANGING = """
changed AS (
    UPDATE strava.activities AS a
    SET utc_offset = told.seconds, start_date_local = told.utc + make_interval(secs => told.seconds)
    FROM told WHERE a.id = told.id AND a.utc_offset IS DISTINCT FROM told.seconds
    RETURNING a.id, told.seconds
), laps AS (
    UPDATE strava.laps AS l
    SET start_date_local = l.start_date AT TIME ZONE 'UTC' + make_interval(secs => changed.seconds)
    FROM changed WHERE l.activity_id = changed.id AND l.activity_id = ANY (ARRAY(SELECT id FROM changed)) AND l.id < 0
)
SELECT id FROM changed
"""
_SETTLING_ALL = text(f"""
WITH zone AS ({_ZONE}), theirs AS (
    SELECT id, start_date, offset_assumed IS TRUE AS is_assumed,
        CASE WHEN offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL THEN start_date END AS known_at
    FROM strava.activities WHERE athlete_id = :athlete_id
), near AS (
    SELECT *, max(known_at) OVER (ORDER BY start_date, id) AS before,
        min(known_at) OVER (ORDER BY start_date DESC, id DESC) AS after
    FROM theirs
), known AS (
    SELECT DISTINCT ON (start_date) start_date, utc_offset FROM strava.activities
    WHERE athlete_id = :athlete_id AND offset_assumed IS NOT TRUE AND utc_offset IS NOT NULL
    ORDER BY start_date, id
), told AS (
    SELECT near.id, near.start_date AT TIME ZONE 'UTC' AS utc, coalesce(known.utc_offset, extract(epoch FROM
        (near.start_date AT TIME ZONE (SELECT name FROM zone)) - (near.start_date AT TIME ZONE 'UTC')
    )::double precision) AS seconds
    FROM near LEFT JOIN known ON known.start_date = CASE
        WHEN after IS NULL OR near.start_date - before <= after - near.start_date THEN before ELSE after END
    WHERE is_assumed
), {_CHANGING}
""")  # noqa: S608  of constants
# The same for some: given ones, and those between the known offsets on both sides of each moment. All are found by
# ix_activities_known_offset and the index by start, however many others there are.
_KNOWN = "k.athlete_id = :athlete_id AND k.offset_assumed IS NOT TRUE AND k.utc_offset IS NOT NULL"
_SETTLING_SOME = text(f"""
WITH zone AS ({_ZONE}), gaps AS MATERIALIZED (
    SELECT
        coalesce((SELECT max(k.start_date) FROM strava.activities AS k WHERE {_KNOWN} AND k.start_date < moment),
            '-infinity') AS after,
        coalesce((SELECT min(k.start_date) FROM strava.activities AS k WHERE {_KNOWN} AND k.start_date > moment),
            'infinity') AS before
    FROM unnest(CAST(:moments AS timestamptz[])) AS moment
), wanted AS (
    SELECT id FROM strava.activities WHERE id = ANY (CAST(:ids AS bigint[]))
    UNION
    -- The offset keeps Postgres from reading all of the athlete's, and comparing each with the gaps.
    SELECT inside.id FROM gaps CROSS JOIN LATERAL (
        SELECT a.id FROM strava.activities AS a
        WHERE a.athlete_id = :athlete_id AND a.start_date > gaps.after AND a.start_date < gaps.before OFFSET 0
    ) AS inside
), told AS (
    SELECT a.id, a.start_date AT TIME ZONE 'UTC' AS utc, coalesce(known.utc_offset, extract(epoch FROM
        (a.start_date AT TIME ZONE (SELECT name FROM zone)) - (a.start_date AT TIME ZONE 'UTC')
    )::double precision) AS seconds
    FROM wanted JOIN strava.activities AS a ON a.id = wanted.id
    LEFT JOIN LATERAL (
        SELECT sides.utc_offset FROM (
            (SELECT k.start_date, k.id, k.utc_offset FROM strava.activities AS k
                WHERE {_KNOWN} AND k.start_date <= a.start_date ORDER BY k.start_date DESC, k.id LIMIT 1)
            UNION ALL
            (SELECT k.start_date, k.id, k.utc_offset FROM strava.activities AS k
                WHERE {_KNOWN} AND k.start_date > a.start_date ORDER BY k.start_date, k.id LIMIT 1)
        ) AS sides
        ORDER BY greatest(sides.start_date - a.start_date, a.start_date - sides.start_date), sides.start_date LIMIT 1
    ) AS known ON true
    WHERE a.offset_assumed
), {_CHANGING}
""")  # noqa: S608  of constants
_NAME_OF_ZONE = text(_ZONE)
_ANY_ASSUMED = text("SELECT EXISTS (SELECT FROM strava.activities WHERE athlete_id = :athlete_id AND offset_assumed)")


@dataclass(frozen=True)
class Unsettled:
    """What a change of activities leaves to be settled.

    ``ids``: activities whose offset is assumed anew; ``moments``: starts (UTC) of those whose known offset came, went
    or changed, so that others between their neighbours may have to assume another one.
    """

    ids: frozenset[int] = frozenset()
    moments: frozenset[datetime] = frozenset()

    @classmethod
    def of(cls, before: Mapping[int, Mapping[str, Any]], after: Mapping[int, Mapping[str, Any] | None]) -> Self:
        """What is unsettled once rows are as ``after`` says (``None``: deleted) that were as ``before`` says."""
        known = {each: (_known(before.get(each)), _known(row)) for each, row in after.items()}
        changed = [side for sides in known.values() if sides[0] != sides[1] for side in sides if side is not None]
        assumed = {each for each, row in after.items() if row is not None and row["offset_assumed"]}
        return cls(frozenset(assumed), frozenset(start for start, _ in changed))


def _known(row: Mapping[str, Any] | None) -> tuple[datetime, float] | None:
    """Start and offset of an activity whose offset is known."""
    if row is None or row["offset_assumed"] or row["utc_offset"] is None or row["start_date"] is None:
        return None
    return row["start_date"], row["utc_offset"]


def settle_local_times(connection: Connection, athlete_id: int, unsettled: Unsettled | None = None) -> None:
    """Fill in, or correct, the assumed local times of an athlete's activities. The caller holds the athlete's lock.

    ``unsettled``: which may be wrong, so that not all are looked at; ``None``: any.
    """
    given: dict[str, Any] = {"athlete_id": athlete_id}
    if unsettled is None:
        if not connection.execute(_ANY_ASSUMED, given).scalar():
            return
        settling = _SETTLING_ALL
    elif unsettled.ids or unsettled.moments:
        given |= {"ids": list(unsettled.ids), "moments": list(unsettled.moments)}
        settling = _SETTLING_SOME
    else:
        return
    mark_changed(connection, connection.execute(settling, given).scalars().all())


def zone_of(connection: Connection, athlete_id: int) -> str | None:
    """Return the time zone that counts where no offset of an athlete's is known: that of the newest import."""
    name: str | None = connection.execute(_NAME_OF_ZONE, {"athlete_id": athlete_id}).scalar()
    return name


def check_zone(connection: Connection, name: str) -> None:
    """Raise ``ConfigurationError`` unless the database knows a time zone of this name."""
    known = text("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = :name)")
    with driver_errors(connection):
        if not connection.execute(known, {"name": name}).scalar():
            raise ConfigurationError(f"{name} is no time zone: give one such as Europe/Berlin")
