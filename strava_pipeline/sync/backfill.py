"""Fetches and stores what listed activities lack, and analyses them, by athlete and span.

For listings see :mod:`strava_pipeline.sync.summaries`, for webhooks :mod:`strava_pipeline.sync.webhook`, for athletes
:mod:`strava_pipeline.sync.athlete`.
Each activity is committed before the next is fetched, and activities that are stored and current are skipped
(:func:`.outdated.without_current_detail` decides). So a run that dies keeps its work, and a repeated run sends no
request twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import (
    NOT_ABOUT_ONE_MONTH,
    DatabaseTooSlow,
    NotAnswered,
    NotFound,
    RejectedRequest,
    StravaError,
    StravaPipelineError,
    WorkTaken,
)
from strava_pipeline.log_context import add_log_ids, log_ids
from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.mapping.activity import detail_rows
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.streams import Streams
from strava_pipeline.sync.context import SpanResult, SyncContext, request_time
from strava_pipeline.sync.handed_in_months import read_pending
from strava_pipeline.warehouse.activities import activity_store, outdated, quarantine, stream_store
from strava_pipeline.warehouse.activities.activity_store import Payload, RecordingVersion
from strava_pipeline.warehouse.activities.outdated import OldDetail
from strava_pipeline.warehouse.activities.summary_changes import Listed, fitting_digest
from strava_pipeline.warehouse.analysis.analyses import not_analysed
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.imports.edited_months import import_dropped
from strava_pipeline.warehouse.revoked import refuse_waiting_for_revoked
from strava_pipeline.warehouse.states import ImportStep, PutAside
from strava_pipeline.warehouse.work_leases import only_worker

log = get_logger(__name__)

Candidate = TypeVar("Candidate", bound=tuple[int, Any])
# After so many activities in a row that Strava refuses, the fault is rather ours.
REFUSALS_IN_A_ROW = 10
# An activity that changes while it is fetched is fetched again: so many times in all.
ATTEMPTS = 3
# A message names so many of the activities that were not analysed.
NAMED = 10


class NotAnalysed(StravaPipelineError):
    """Some activities could not be analysed, the others were; ``failed`` has their ids."""

    def __init__(self, failed: Sequence[int], wanted: int) -> None:
        self.failed = tuple(failed)
        named = ", ".join(map(str, failed[:NAMED]))
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        super().__init__(
            f"{len(failed)} of {wanted} activities could not be analysed: {named}{more}; see the log of the run"
        )


def import_details(sync: SyncContext, span: Span, *, due: bool = False) -> SpanResult:
    """Fetch and store every detail of a span that is missing or out of date.

    ``due``: leave out activities in quarantine that are not to be tried again yet.
    """

    def wanted(connection: Connection, only: int | None = None) -> list[tuple[int, str]]:
        return outdated.without_current_detail(
            connection, span, only=only, due=due, archive_details=sync.kept.archive_details
        )

    def fetch(candidate: tuple[int, str]) -> bool:
        return _store_detail(sync, span.athlete_id, *candidate)

    return _Fetching(sync, span, ImportStep.DETAIL, wanted, fetch).run()


def refresh_detail(sync: SyncContext, old: OldDetail) -> SpanResult:
    """Fetch and store a detail anew, unless that was done meanwhile."""
    span = month_span(old.athlete_id, month_start(old.start_date))

    def wanted(connection: Connection, only: int | None = None) -> list[tuple[int, None]]:  # noqa: ARG001  there is but one
        return [(old.activity_id, None)] if outdated.is_still(connection, old) else []

    def fetch(candidate: tuple[int, None]) -> bool:
        return _store_detail(sync, span.athlete_id, *candidate)

    return _Fetching(sync, span, ImportStep.DETAIL, wanted, fetch).run()


def put_detail_aside(sync: SyncContext, old: OldDetail, reason: str, kind: PutAside) -> None:
    """Put an activity aside whose detail could not be fetched anew, so that the next one has its turn."""
    span = month_span(old.athlete_id, month_start(old.start_date))
    reasons = {old.activity_id: reason}
    add = partial(quarantine.add_to_quarantine, span=span, step=ImportStep.DETAIL, reasons=reasons, kind=kind)
    retry_transaction(sync.engine, add)


def import_streams(sync: SyncContext, span: Span, *, due: bool = False) -> SpanResult:
    """Fetch and store the streams that a span lacks; an activity entered by hand has none and costs no request.

    Recordings that were handed in are read first, and only the rest is asked for. ``due`` as in :func:`import_details`.
    """
    read = read_pending(sync.engine, span)
    with sync.engine.begin() as connection:
        by_hand = [activity_id for activity_id, manual in outdated.without_streams(connection, span) if manual]
        asked_at = now(connection)
        for activity_id in by_hand:
            stream_store.store_streams(connection, map_streams(span.athlete_id, activity_id, {}), asked_at)

    def wanted(connection: Connection, only: int | None = None) -> list[tuple[int, bool]]:
        return outdated.without_streams(connection, span, only=only, due=due)

    def fetch(candidate: tuple[int, bool]) -> bool:
        return _store_streams(sync, span.athlete_id, candidate[0])

    fetched = _Fetching(sync, span, ImportStep.STREAMS, wanted, fetch).run()
    stored = read.stored + fetched.stored + len(by_hand)
    return replace(fetched, stored=stored, quarantined=read.quarantined | fetched.quarantined)


def analyse_span(engine: Engine, span: Span) -> SpanResult:
    """Compute and store the figures of a span's activities that have none, or figures of older streams or formulas.

    Activities that cannot be analysed do not keep the others from it; ``NotAnalysed`` names them at the end.
    """
    with autocommit(engine) as connection:
        wanted = not_analysed(connection, span)
    failed: dict[int, Exception] = {}
    for activity_id in wanted:
        try:
            analyse_activity(engine, activity_id)
        except Exception as error:
            if isinstance(error, NOT_ABOUT_ONE_MONTH) and not isinstance(error, DatabaseTooSlow):
                raise
            with log_ids(athlete_id=span.athlete_id, activity_id=activity_id):
                log.warning(
                    "activity %d of athlete %d could not be analysed", activity_id, span.athlete_id, exc_info=error
                )
            failed[activity_id] = error
    if failed:
        raise NotAnalysed(list(failed), len(wanted)) from next(iter(failed.values()))
    return SpanResult(span, stored=len(wanted))


def analyse_activity(engine: Engine, activity_id: int) -> None:
    """Compute and store the figures of one activity from its stored streams, if it has any."""
    from strava_pipeline.sync.activity_analysis import analyse_stored  # noqa: PLC0415  loads numerics, which most runs do not need

    with engine.begin() as connection:
        analyse_stored(connection, activity_id)


def _store_detail(sync: SyncContext, athlete_id: int, activity_id: int, listed_digest: str | None) -> bool:
    for _ in range(ATTEMPTS):
        asked_at = request_time(sync)
        body = sync.client.get_activity(athlete_id, activity_id)
        rows = sync.kept.of_detail(detail_rows(athlete_id, body))

        def keep(connection: Connection) -> bool:
            listed = None if listed_digest is None else Listed(listed_digest)
            fits = fitting_digest(connection, body, listed)  # noqa: B023  called at once
            payload = Payload(activity_id, athlete_id, body, fits)  # noqa: B023  called at once
            replaced = activity_store.store_detail(connection, rows, payload, asked_at)  # noqa: B023  called at once
            quarantine.release_from_quarantine(connection, ImportStep.DETAIL, [activity_id])
            if replaced is None:
                return False
            month = add_months(rows.activity["start_date"].astimezone(UTC).date(), 0)  # noqa: B023  called at once
            import_dropped(connection, athlete_id, month, sync.kept.of_steps(replaced.dropped))
            return True

        # The answer has cost a request: a short outage of the database must not lose it.
        if retry_transaction(sync.engine, keep):
            return True
        log.info("activity %d was changed while its detail was fetched", activity_id)
    return False


def _store_streams(sync: SyncContext, athlete_id: int, activity_id: int) -> bool:
    for _ in range(ATTEMPTS):
        with autocommit(sync.engine) as connection:
            recording, asked_at = activity_store.recording_version(connection, activity_id), now(connection)
        streams = map_streams(athlete_id, activity_id, sync.client.get_streams(athlete_id, activity_id))
        if not streams.point_count:
            with autocommit(sync.engine) as connection:
                samples = stream_store.streams_needed(connection, activity_id)
            if samples.missing and samples.may_come:
                raise NotAnswered(f"streams of activity {activity_id} of athlete {athlete_id}: Strava has none yet")
        # As with a detail, the answer must not be lost.
        kept = retry_transaction(
            sync.engine, partial(_keep_streams, streams=streams, recording=recording, asked_at=asked_at)
        )
        if kept is not None:
            return kept
        log.info("activity %d was changed while its streams were fetched", activity_id)
    return False


def _keep_streams(
    connection: Connection, streams: Streams, recording: RecordingVersion | None, asked_at: datetime
) -> bool | None:
    """Store a recording's streams; False if none are needed any more, None if the activity has another recording."""
    if stream_store.store_streams(connection, streams, asked_at, of=recording):
        quarantine.release_from_quarantine(connection, ImportStep.STREAMS, [streams.activity_id])
        return True
    # With the recording unchanged, newer streams are stored, or the activity was gone before.
    return False if recording == activity_store.recording_version(connection, streams.activity_id) else None


@dataclass(frozen=True)
class _Fetching(Generic[Candidate]):
    """Fetches what a span lacks, activity by activity; one that fails is quarantined with its reason, the rest goes on.

    ``fetch`` says whether its answer was stored; what lacks nevertheless is quarantined as well: it was changed again
    and again, or its row cannot be overwritten. Only one run at a time works on a step of a span. Before each request
    it checks that the activity is still wanted: a webhook may have stored it, and the list of a backfill that waited
    for quota is old.
    """

    sync: SyncContext
    span: Span
    step: ImportStep
    wanted: Callable[..., list[Candidate]]
    fetch: Callable[[Candidate], bool]

    def run(self) -> SpanResult:
        if not self._all_wanted():
            return SpanResult(self.span, stored=0)
        athlete_id, work = self.span.athlete_id, f"the {self.step} of {self.span.months}"

        def waits(pause_s: float) -> None:
            reason = f"another run is at {work} of athlete {athlete_id}"
            if not self.sync.waits_for_others:
                raise WorkTaken(reason)
            self.sync.monitor.wait_begins(reason, None, pause_s)
            self._refuse_if_revoked()

        with log_ids(athlete_id=athlete_id), only_worker(self.sync.engine, athlete_id, work, waits, self.sync.pauses):
            return self._fetch_all()

    def _fetch_all(self) -> SpanResult:
        stored, refused_in_a_row = 0, 0
        quarantined: dict[int, str] = {}
        for activity_id, *_ in self._all_wanted():
            add_log_ids(activity_id=activity_id)
            self.sync.pace.wait(self._refuse_if_revoked)
            self.sync.monitor.on_change(None)
            try:
                stored += self._fetch_if_wanted(activity_id)
                refused_in_a_row = 0
            except NotFound as error:
                # Deleted or made private since it was listed: the next listing settles it.
                log.info("activity %d of athlete %d is no longer there", activity_id, self.span.athlete_id)
                self._put_aside(activity_id, error, PutAside.HIDDEN)
            except (RejectedRequest, NotAnswered) as error:
                refused_in_a_row += isinstance(error, RejectedRequest) and error.status is not None
                if refused_in_a_row == REFUSALS_IN_A_ROW:
                    raise
                log.warning("put aside: %s", error)
                quarantined[activity_id] = str(error)
                is_refused = isinstance(error, RejectedRequest)
                self._put_aside(activity_id, error, PutAside.UNUSABLE if is_refused else PutAside.UNANSWERED)
        return SpanResult(self.span, stored=stored, quarantined=quarantined)

    def _put_aside(self, activity_id: int, error: StravaError, kind: PutAside) -> None:
        add = quarantine.add_to_quarantine
        reasons = {activity_id: str(error)}
        # A request has told it: a short outage of the database must not lose it.
        retry_transaction(self.sync.engine, partial(add, span=self.span, step=self.step, reasons=reasons, kind=kind))

    def _refuse_if_revoked(self) -> None:
        refuse_waiting_for_revoked(self.sync.engine, self.span.athlete_id)

    def _fetch_if_wanted(self, activity_id: int) -> bool:
        candidates = self._still_wanted(activity_id)
        if not candidates:
            return False
        is_stored = self.fetch(candidates[0])
        if not is_stored and self._still_wanted(activity_id):
            raise RejectedRequest(f"activity {activity_id}: newer data kept its {self.step} from being stored")
        return is_stored

    def _still_wanted(self, activity_id: int) -> list[Candidate]:
        with autocommit(self.sync.engine) as connection:
            return self.wanted(connection, activity_id)

    def _all_wanted(self) -> list[Candidate]:
        with autocommit(self.sync.engine) as connection:
            return self.wanted(connection)
