"""The progress of backfills as their runs report it, for the status page, the command, and the runs' tags."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.outdated import lacks_detail
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.history_tables import job_progress
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import PayloadKind

# A run reports at least twice a minute, even while it waits; one that is silent for longer than this is dead.
SILENT = timedelta(minutes=3)


@dataclass(frozen=True)
class Completeness:
    """The number of a span's stored activities, and of those with a current detail, and with streams."""

    listed: int
    detailed: int
    streamed: int


@dataclass(frozen=True)
class BackfillProgress:
    """The progress of one run with one athlete's span, times in UTC; ``waiting_for`` is ``None`` while it works."""

    run_id: str
    athlete_id: int
    span_start: datetime
    span_end: datetime
    step: str
    done: Completeness
    requests: int
    waiting_for: str | None
    waiting_until: datetime | None
    estimated_end: datetime | None
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ProgressReport:
    """A run's report of its progress; fields as in :class:`BackfillProgress`."""

    run_id: str
    span: Span
    step: str
    done: Completeness
    requests: int
    waiting_for: str | None = None
    waiting_until: datetime | None = None
    estimated_end: datetime | None = None


def backfill_progress(connection: Connection) -> list[BackfillProgress]:
    """Return the progress of each run that works or waits, oldest first; runs silent for ``SILENT`` are left out."""
    query = (
        select(job_progress)
        .where(job_progress.c.finished_at.is_(None), job_progress.c.updated_at > database_time() - SILENT)
        .order_by(job_progress.c.started_at, job_progress.c.run_id, job_progress.c.athlete_id)
    )
    return [_progress(row) for row in connection.execute(query)]


def count_done(connection: Connection, span: Span, *, archive_details: bool = False) -> Completeness:
    """Count a span's stored activities, and those with a current detail, and with streams.

    One of which an archive tells needs no detail, unless ``archive_details``: it counts as one that has it.
    """
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    lacks = lacks_detail(summary, detail, archive_details=archive_details)
    has_detail: ColumnElement[bool] = detail.c.activity_id.is_not(None)
    if not archive_details:
        has_detail = or_(has_detail, activities.c.archive_taken_at.is_not(None))
    query = (
        select(
            func.count(activities.c.id),
            func.count(activities.c.id).filter(has_detail, ~lacks),
            func.count(activities.c.id).filter(~lacks_samples()),
        )
        .outerjoin(summary, and_(summary.c.activity_id == activities.c.id, summary.c.kind == PayloadKind.SUMMARY))
        .outerjoin(detail, and_(detail.c.activity_id == activities.c.id, detail.c.kind == PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .where(in_span(span))
    )
    return Completeness(*connection.execute(query).one())


def save_progress(connection: Connection, report: ProgressReport) -> None:
    """Store a run's report. ``NeedsReauthorization`` if the athlete has disconnected."""
    refuse_rows_of_revoked(connection, [report.span.athlete_id])
    moment = now(connection)
    values = {
        "run_id": report.run_id,
        "athlete_id": report.span.athlete_id,
        "span_start": report.span.start,
        "span_end": report.span.end,
        "step": report.step,
        **vars(report.done),
        "requests": report.requests,
        "waiting_for": report.waiting_for,
        "waiting_until": report.waiting_until,
        "estimated_end": report.estimated_end,
        "updated_at": moment,
        "finished_at": None,
    }
    adding = insert(job_progress).values(values | {"started_at": moment})
    connection.execute(adding.on_conflict_do_update(index_elements=["run_id", "athlete_id"], set_=values))


def note_finished(connection: Connection, run_id: str) -> None:
    """Mark a run's progress finished, because a step has ended; a report of the next step marks it unfinished."""
    connection.execute(
        update(job_progress)
        .where(job_progress.c.run_id == run_id)
        .values(finished_at=database_time(), waiting_for=None, waiting_until=None)
    )


def _progress(row: Row[tuple[object, ...]]) -> BackfillProgress:
    values = row._asdict()
    done = Completeness(values.pop("listed"), values.pop("detailed"), values.pop("streamed"))
    del values["finished_at"]
    return BackfillProgress(**values, done=done)
