"""What brings activities up to date works with: the context of a lane, and what became of a span."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Engine

from strava_pipeline.months import Span
from strava_pipeline.settings import Settings
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.monitor import RequestMonitor
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client, outage_patience
from strava_pipeline.sync.pacing import Pace
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.pauses import REAL_PAUSES, Pauses
from strava_pipeline.warehouse.retention import keep_from


@dataclass(frozen=True)
class SyncContext:
    """Client, database and pace with which activities are brought up to date.

    ``monitor`` counts requests and waits; activities that started before ``keep_from`` (UTC) are not stored. Every wait
    goes through ``pauses``. ``waits_for_others``: for a run that is at the same work; without it, ``WorkTaken``.
    """

    client: StravaClient
    engine: Engine
    pace: Pace
    monitor: RequestMonitor = field(default_factory=RequestMonitor)
    keep_from: datetime | None = None
    pauses: Pauses = REAL_PAUSES
    waits_for_others: bool = True
    kept: Kept = EVERYTHING


def open_sync(
    settings: Settings,
    engine: Engine,
    lane: Lane,
    max_wait: timedelta,
    pauses: Pauses = REAL_PAUSES,
    *,
    goes_first: bool = False,
    kept: Kept = EVERYTHING,
) -> SyncContext:
    """Build the context of a lane from the settings; a request waits at most ``max_wait`` for quota.

    Without ``max_wait`` nothing else is waited for either.

    ``goes_first``: other backfills leave their room to its requests. ``kept``: what the deployment keeps.
    """
    monitor = RequestMonitor()
    pace = Pace(settings.import_batch_size, settings.import_batch_interval_seconds, sleep=pauses.sleep, monitor=monitor)
    patience = outage_patience(settings, lane) if max_wait else timedelta(0)
    client = open_client(settings, engine, lane, max_wait, monitor, pauses, patience, goes_first=goes_first)
    return SyncContext(
        client, engine, pace, monitor, keep_from(settings), pauses, waits_for_others=bool(max_wait), kept=kept
    )


@dataclass(frozen=True)
class SpanResult:
    """How many activities of a span were ``stored``, ``deleted`` and ``unchanged``.

    ``absent``: how many listed activities are not stored, though nothing says why; ``quarantined``: reasons by id.
    """

    span: Span
    stored: int
    deleted: int = 0
    unchanged: int = 0
    absent: int = 0
    quarantined: dict[int, str] = field(default_factory=dict)


def request_time(sync: SyncContext) -> datetime:
    """The database's time (UTC) before a request, by which answers are ordered, however they arrive."""
    with autocommit(sync.engine) as connection:
        return now(connection)
