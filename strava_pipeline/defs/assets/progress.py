"""Reports a run's progress while it works: in ``ops.job_progress``, in the run's tags, and in its log."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.defs.steps import lane_of
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.months import Span, enclosing_span
from strava_pipeline.names import NAMES, Asset
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.monitor import Wait
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.progress.backfill_estimate import backfill_end
from strava_pipeline.warehouse.progress.job_progress import (
    Completeness,
    ProgressReport,
    count_done,
    note_finished,
    save_progress,
)
from strava_pipeline.warehouse.quota.status import scope_status

log = get_logger(__name__)

# Progress is saved, and the run's tags are set, at most this often; tags also when a wait begins or ends.
SAVE_EVERY_SECONDS = 2.0
TAGS_EVERY_SECONDS = 60.0
# Until the run's own pace can be measured.
ASSUMED_SECONDS_PER_REQUEST = 0.3
Context = dg.AssetExecutionContext | dg.OpExecutionContext


@dataclass
class ProgressReporter:
    """Reports the requests and waits of one run that works on one athlete.

    ``step``: the asset that it works on; ``chosen``: those that the run works on in all.
    """

    context: Context
    sync: SyncContext
    span: Span
    rate_limits: RateLimits
    step: str
    chosen: frozenset[str]
    _began: float = field(default_factory=time.monotonic)
    _saved_at: float = float("-inf")
    _tagged_at: float = float("-inf")
    _tagged_waiting: bool = False

    def report(self, waiting: Wait | None) -> None:
        """Save that the run works or waits, at most every two seconds; end the run if its command was interrupted."""
        if stop_wanted.is_set():
            raise dg.DagsterExecutionInterruptedError
        moment = time.monotonic()
        if moment - self._saved_at >= SAVE_EVERY_SECONDS:
            self._saved_at = moment
            try:
                self._save(waiting)
            except DatabaseUnavailable as error:
                log.debug("progress not saved: %s", error)

    def finish(self) -> None:
        """Save the last progress of a step that ended, well or not."""
        try:
            self._tagged_at = float("-inf")
            self._save(None)
            with self.sync.engine.begin() as connection:
                note_finished(connection, self.context.run.run_id)
        except DatabaseUnavailable as error:
            log.debug("progress not saved: %s", error)

    def quota_left(self) -> int:
        """The number of calls that the lane may send now."""
        return quota_left(self.sync.engine, self.rate_limits, self.span.athlete_id, lane_of(self.context))

    def _save(self, waiting: Wait | None) -> None:
        with self.sync.engine.begin() as connection:
            done = count_done(connection, self.span)
            report = ProgressReport(
                run_id=self.context.run.run_id,
                span=self.span,
                step=self.step,
                done=done,
                requests=self.sync.monitor.requests,
                waiting_for=waiting.why if waiting else None,
                waiting_until=waiting.until if waiting else None,
                estimated_end=self._estimate(connection, done),
            )
            save_progress(connection, report)
        is_waiting = waiting is not None
        if is_waiting != self._tagged_waiting or time.monotonic() - self._tagged_at >= TAGS_EVERY_SECONDS:
            self._tagged_at, self._tagged_waiting = time.monotonic(), is_waiting
            self._tag(report)

    def _tag(self, report: ProgressReport) -> None:
        try:
            self.context.instance.add_run_tags(self.context.run.run_id, self._tags(report))
        except (DagsterPostgresException, SQLAlchemyError) as error:
            log.debug("tags not set: %s", error)  # Dagster's database is away: that alone ends no step

    def _estimate(self, connection: Any, done: Completeness) -> datetime | None:
        details, streams = Asset.DETAILS in self.chosen, Asset.STREAMS in self.chosen
        requests = (done.listed - done.detailed) * details + (done.listed - done.streamed) * streams
        return backfill_end(connection, self.rate_limits, self.span.athlete_id, requests, self._seconds_per_request())

    def _seconds_per_request(self) -> float:
        worked = timedelta(seconds=time.monotonic() - self._began) - self.sync.monitor.waited
        sent = self.sync.monitor.requests
        measured = worked.total_seconds() / sent if sent else ASSUMED_SECONDS_PER_REQUEST
        return max(measured, self.sync.pace.seconds_each)

    def _tags(self, report: ProgressReport) -> dict[str, str]:
        end = report.estimated_end
        return {
            NAMES.athlete_tag: str(self.span.athlete_id),
            NAMES.tag("span"): self.span.months,
            NAMES.tag("requests"): str(report.requests),
            NAMES.tag("waiting"): report.waiting_for or "no",
            NAMES.tag("estimated_end"): f"{end:%Y-%m-%d %H:%M} UTC" if end else "unknown",
        }


def quota_left(engine: Engine, rate_limits: RateLimits, athlete_id: int, lane: Lane) -> int:
    """The number of calls that a lane may send now on behalf of an athlete."""
    with autocommit(engine) as connection:
        windows = scope_status(connection, rate_limits, rate_limits.scope_of(athlete_id), now(connection))
    return min(window.calls_left[lane] for window in windows)


@contextmanager
def reporting_progress(
    context: dg.AssetExecutionContext, sync: SyncContext, spans: Sequence[Span]
) -> Iterator[ProgressReporter]:
    """Report the progress of an asset's step while one athlete's spans are worked on."""
    chosen = context.run.asset_selection or {context.asset_key}
    names = frozenset(key.to_user_string() for key in chosen)
    with reporting(context, sync, enclosing_span(spans), context.asset_key.to_user_string(), names) as reporter:
        yield reporter


@contextmanager
def reporting(
    context: Context, sync: SyncContext, span: Span, step: str, chosen: frozenset[str]
) -> Iterator[ProgressReporter]:
    """Report progress while one athlete's span is worked on, at first by ``step``."""
    reporter = ProgressReporter(context, sync, span, RateLimits.from_settings(load_settings()), step, chosen)
    sync.monitor.on_change = reporter.report
    try:
        reporter.report(None)
        yield reporter
    finally:
        reporter.finish()
        context.log.info(
            "%s of athlete %d, %s: %d requests so far, %.0f s of them waiting",
            reporter.step,
            span.athlete_id,
            span.months,
            sync.monitor.requests,
            sync.monitor.waited.total_seconds(),
        )
