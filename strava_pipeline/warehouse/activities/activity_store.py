"""Stores activities with their dependent rows, and deletes them together."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update

from strava_pipeline.errors import WarehouseError
from strava_pipeline.months import Span, add_months
from strava_pipeline.strava.mapping.activity import DetailRows, as_json, recording_told
from strava_pipeline.warehouse.activities.answers import SUMMARIZED
from strava_pipeline.warehouse.activities.changed_months import mark_changed
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.activities.tombstones import UNLISTED, add_tombstones, lock_activities, reject_deleted
from strava_pipeline.warehouse.archives.merging import merge_told
from strava_pipeline.warehouse.athletes.profiles import store_gear
from strava_pipeline.warehouse.bulk import replace_parts, store_changed, store_newer, store_under_lock
from strava_pipeline.warehouse.engine import now, plan_for_now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_TABLES
from strava_pipeline.warehouse.schema.archive_tables import archive_rows
from strava_pipeline.warehouse.schema.columns import any_of, database_time, is_not_newer
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    best_efforts,
    laps,
    photos,
    segment_efforts,
    segments,
    splits,
)
from strava_pipeline.warehouse.shared_segments import delete_segments_of_nobody, segments_ridden_in
from strava_pipeline.warehouse.states import EventState, ImportStep, PayloadKind

Row = dict[str, Any]
# Guard against an answer that wrongly lists next to nothing.
MASS_DELETE_FROM = 10
MASS_DELETE_SHARE = 0.5


class Unlisted(Enum):
    """What becomes of stored activities that a listing lacks.

    REFUSE: nothing is replaced if there is any. REFUSE_MANY: nothing is replaced if these are suspiciously many.
    """

    REFUSE = auto()
    REFUSE_MANY = auto()
    DELETE = auto()
    KEEP = auto()


@dataclass(frozen=True)
class Missing:
    """How many activities are ``stored``, and how many of these a listing lacks (``unlisted``)."""

    stored: int
    unlisted: int

    @property
    def are_many(self) -> bool:
        """Whether a listing lacks so many that it may be wrong."""
        return self.stored >= MASS_DELETE_FROM and self.unlisted > MASS_DELETE_SHARE * self.stored

    @property
    def told(self) -> str:
        """How many are listed: ``3 of 2,014``."""
        return f"{self.stored - self.unlisted:,} of {self.stored:,}"


@dataclass(frozen=True)
class Replaced:
    """How many activities were ``deleted``; ``dropped``: of which steps edited ones lost what was stored."""

    deleted: int
    dropped: frozenset[ImportStep] = frozenset()


@dataclass(frozen=True)
class RecordingVersion:
    """Start (UTC) and length (s) of an activity's recording: a crop, or a corrected start, means new streams."""

    start_date: datetime
    elapsed_time: int | None


@dataclass(frozen=True)
class Payload:
    """One raw answer about an activity, and the digest that tells whether a stored detail is current."""

    activity_id: int
    athlete_id: int
    body: Row
    digest: str


def in_span(span: Span) -> ColumnElement[bool]:
    """Select the activities of a span."""
    return and_(
        activities.c.athlete_id == span.athlete_id,
        activities.c.start_date >= span.start,
        activities.c.start_date < span.end,
    )


def is_in_archive() -> ColumnElement[bool]:
    """Select activities of which a row of an archive tells, whether its import has merged it or will."""
    return exists().where(archive_rows.c.activity_id == activities.c.id)


def _should_be_listed(span: Span, asked_at: datetime) -> ColumnElement[bool]:
    """Select the activities of a span of which nothing tells but the API, as asked no later than ``asked_at`` (UTC)."""
    return and_(
        in_span(span),
        is_not_newer(activities.c.fetched_at, asked_at),
        activities.c.told_by_api,
        activities.c.archive_taken_at.is_(None),
        activities.c.file_taken_at.is_(None),
        ~is_in_archive(),
    )


def replace_span(
    connection: Connection,
    span: Span,
    rows: Sequence[Row],
    bodies: Sequence[Payload],
    *,
    listed: Collection[int],
    asked_at: datetime,
    unlisted: Unlisted,
) -> Replaced:
    """Replace the stored activities of a span by ``rows``; those that an archive or a file tells stay in any case.

    ``listed``: all ids that Strava listed; they are not deleted even if they start elsewhere or did not map.
    Activities stored after ``asked_at`` (UTC) stay, and so do all if unlisted ones are kept, or if ``asked_at`` lies
    ahead: then the database's clock was set back, and nobody knows which ones were stored after it.
    Raises ``WarehouseError`` where ``unlisted`` refuses what would be deleted.
    """
    plan_for_now(connection)
    lock_activities(connection, span.athlete_id)
    stored = select(activities.c.id).where(_should_be_listed(span, asked_at))
    present = set(connection.execute(stored.with_for_update()).scalars())
    keeps_all = unlisted is Unlisted.KEEP or asked_at > now(connection)
    gone = set() if keeps_all else present - set(listed)
    missing = Missing(len(present), len(gone))
    if (missing.are_many and unlisted is Unlisted.REFUSE_MANY) or (gone and unlisted is Unlisted.REFUSE):
        raise WarehouseError(
            f"Strava lists only {missing.told} of athlete {span.athlete_id}'s stored activities from"
            f" {span.start:%Y-%m-%d} on: nothing was deleted; if that is right, run again with allow_mass_delete"
        )
    delete_activities(connection, gone)
    add_tombstones(connection, span.athlete_id, gone, asked_at, UNLISTED)
    gone_since = reject_deleted(connection, [row["id"] for row in rows], asked_at)
    kept = [row for row in rows if row["id"] not in gone_since]
    fresh = [row | {"fetched_at": asked_at, "resource_state": SUMMARIZED} for row in kept]
    dropped = _delete_outdated_streams(connection, fresh)
    if fresh:
        refuse_rows_of_revoked(connection, [span.athlete_id])
    store_under_lock(connection, activities, fresh, keep={"resource_state"})
    listed_bodies = [payload for payload in bodies if payload.activity_id not in gone_since]
    store_payloads(connection, PayloadKind.SUMMARY, listed_bodies, asked_at)
    around = (span.start, span.end) if gone else None
    merge_told(connection, span.athlete_id, [row["id"] for row in fresh], around=around)
    return Replaced(len(gone), dropped)


def count_missing(connection: Connection, span: Span, listed: Collection[int], asked_at: datetime) -> Missing:
    """Count the stored activities of a span that a listing, asked for at ``asked_at`` (UTC), should hold, and lacks."""
    stored = select(activities.c.id).where(_should_be_listed(span, asked_at))
    present = set(connection.execute(stored).scalars())
    return Missing(len(present), len(present - set(listed)))


def which_are_stored(connection: Connection, activity_ids: Collection[int]) -> set[int]:
    """Return those of the ids whose activities are stored."""
    return set(connection.execute(select(activities.c.id).where(any_of(activities.c.id, activity_ids))).scalars())


def touch_unchanged(connection: Connection, activity_ids: Collection[int], asked_at: datetime) -> None:
    """Set when Strava was last asked for unchanged activities, so that an older answer under way is refused.

    Only activities with a launched event are written, since one of these may be being fetched just now.
    """
    being_fetched = exists().where(
        webhook_events.c.object_id == activities.c.id, webhook_events.c.state == EventState.LAUNCHED
    )
    connection.execute(
        update(activities)
        .where(any_of(activities.c.id, activity_ids), activities.c.fetched_at < asked_at, being_fetched)
        .values(fetched_at=asked_at)
    )


def store_detail(connection: Connection, rows: DetailRows, payload: Payload, asked_at: datetime) -> Replaced | None:
    """Store one activity with its laps, splits and efforts; ``None`` if newer rows, or a later deletion, are known."""
    lock_activities(connection, payload.athlete_id)
    if reject_deleted(connection, [payload.activity_id], asked_at):
        return None
    activity = rows.activity | {"fetched_at": asked_at}
    dropped = _delete_outdated_streams(connection, [activity])
    if not store_newer(connection, activities, [activity]):
        return None
    store_parts(connection, payload.activity_id, rows, asked_at)
    store_payloads(connection, PayloadKind.DETAIL, [payload], asked_at)
    merge_told(connection, payload.athlete_id, [payload.activity_id])
    return Replaced(0, dropped)


def store_parts(connection: Connection, activity_id: int, rows: DetailRows, asked_at: datetime) -> None:
    """Replace an activity's dependent rows by ``rows``, and store the gear and the segments that it used."""
    photo_rows = [photo | {"urls": json.dumps(photo["urls"])} for photo in rows.photos]
    parts = {
        laps: rows.laps,
        splits: rows.splits,
        best_efforts: rows.best_efforts,
        segment_efforts: rows.segment_efforts,
        photos: photo_rows,
    }
    ridden_before = segments_ridden_in(connection, [activity_id])
    replace_parts(connection, activity_id, parts)
    # Segments are shared by all athletes: they are written in one order, so that transactions do not deadlock.
    touched = [row | {"fetched_at": asked_at} for row in sorted(rows.segments, key=lambda row: int(row["id"]))]
    store_changed(connection, segments, touched)
    store_gear(connection, sorted(rows.gear, key=lambda row: str(row["id"])), asked_at)
    delete_segments_of_nobody(connection, ridden_before - {row["segment_id"] for row in rows.segment_efforts})


def store_payloads(connection: Connection, kind: PayloadKind, bodies: Sequence[Payload], asked_at: datetime) -> None:
    """Store raw answers, from which the tables can be rebuilt; call this after storing their activities."""
    rows = [
        {
            "activity_id": payload.activity_id,
            "kind": kind,
            "athlete_id": payload.athlete_id,
            "body": as_json(payload.body),
            "digest": payload.digest,
            "fetched_at": asked_at,
        }
        for payload in bodies
    ]
    store_under_lock(connection, payloads, rows)
    mark_changed(connection, [payload.activity_id for payload in bodies])


def owner_of(connection: Connection, activity_id: int) -> int | None:
    """The id of the athlete who owns a stored activity; ``None`` if the activity is not stored."""
    return connection.execute(
        select(activities.c.athlete_id).where(activities.c.id == activity_id)
    ).scalar_one_or_none()


def is_handed_in_alone(connection: Connection, activity_id: int) -> bool:
    """Whether an activity is stored, and only an archive or a file tells of it: Strava's API does not."""
    told_by_api = connection.execute(select(activities.c.told_by_api).where(activities.c.id == activity_id)).scalar()
    return told_by_api is False


def activity_start(connection: Connection, athlete_id: int, activity_id: int) -> datetime | None:
    """The start (UTC) of a stored activity of this athlete; ``None`` without one."""
    return connection.execute(
        select(activities.c.start_date).where(activities.c.id == activity_id, activities.c.athlete_id == athlete_id)
    ).scalar_one_or_none()


def first_start(connection: Connection, span: Span) -> datetime | None:
    """The start (UTC) of a span's earliest stored activity; ``None`` without one."""
    return connection.execute(select(func.min(activities.c.start_date)).where(in_span(span))).scalar()


def recording_version(connection: Connection, activity_id: int) -> RecordingVersion | None:
    """The version of an activity's recording as stored now; ``None`` if the activity is not stored."""
    found = connection.execute(
        select(activities.c.start_date, activities.c.elapsed_time).where(activities.c.id == activity_id)
    ).first()
    return None if found is None else RecordingVersion(*found)


def count_absent(connection: Connection, listed: Collection[int], asked_at: datetime) -> int:
    """Count the listed activities that are neither stored nor known to be gone since ``asked_at`` (UTC)."""
    stored = connection.execute(select(activities.c.id).where(any_of(activities.c.id, listed)))
    missing = set(listed).difference(stored.scalars())
    return len(missing - reject_deleted(connection, missing, asked_at))


def start_if_current(
    connection: Connection, athlete_id: int, activity_id: int, received_at: datetime
) -> datetime | None:
    """The start (UTC) of an activity whose stored detail was asked for after ``received_at`` (UTC); else ``None``."""
    query = (
        select(activities.c.start_date)
        .join(payloads, and_(payloads.c.activity_id == activities.c.id, payloads.c.kind == PayloadKind.DETAIL))
        .where(
            activities.c.id == activity_id,
            activities.c.athlete_id == athlete_id,
            ~is_not_newer(payloads.c.fetched_at, received_at),
        )
    )
    return connection.execute(query).scalar_one_or_none()


def _delete_outdated_streams(connection: Connection, rows: Sequence[Row]) -> frozenset[ImportStep]:
    """Delete figures of activities whose start or length changes, and streams if the recording is a new one.

    Returns the steps of what was deleted.

    List and detail of one recording may tell different lengths, and then take turns in the table. So only a start and
    a length that neither the stored summary nor the stored detail has told are those of a new recording.
    """
    fresh = {row["id"]: (row["start_date"], row["elapsed_time"]) for row in rows}
    is_ahead = (activities.c.fetched_at > database_time()).label("is_ahead")
    columns = activities.c["id", "start_date", "elapsed_time", "fetched_at"]
    stored = connection.execute(select(*columns, is_ahead).where(any_of(activities.c.id, fresh)))
    asked = {row["id"]: row["fetched_at"] for row in rows}
    changed = [
        row.id
        for row in stored
        if (row.start_date, row.elapsed_time) != fresh[row.id] and (row.is_ahead or row.fetched_at <= asked[row.id])
    ]
    if not changed:
        return frozenset()
    in_lake = months_of_samples(connection, changed)
    # Their months of now are marked once they are stored.
    mark_changed(connection, changed)
    figures = sum(
        connection.execute(delete(table).where(any_of(table.c.activity_id, changed))).rowcount
        for table in ANALYSIS_TABLES
    )
    told = _told_recordings(connection, changed)
    recorded_anew = [activity_id for activity_id in changed if (activity_id, fresh[activity_id]) not in told]
    outdated = any_of(activity_streams.c.activity_id, recorded_anew)
    streams = connection.execute(delete(activity_streams).where(outdated)).rowcount
    if in_lake:
        # A new start may lie in another month, into which samples that stay go along.
        new_months = {(row["athlete_id"], _month_of(row["start_date"])) for row in rows if row["id"] in set(changed)}
        mark_outdated(connection, in_lake | new_months)
    deleted = {ImportStep.STREAMS: streams, ImportStep.FIGURES: figures}
    return frozenset(step for step, count in deleted.items() if count)


def _month_of(start: datetime) -> date:
    return add_months(start.astimezone(UTC).date(), 0)


def _told_recordings(connection: Connection, activity_ids: Collection[int]) -> set[tuple[int, Any]]:
    """Each of these activities with a start (UTC) and length (s) that a stored answer tells."""
    bodies = select(payloads.c.activity_id, payloads.c.body).where(any_of(payloads.c.activity_id, activity_ids))
    return {(activity_id, recording_told(body)) for activity_id, body in connection.execute(bodies)}
