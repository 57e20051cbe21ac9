"""Reports a run's progress while it works: in ``ops.job_progress``, in the run's tags, and in its log."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.assets.recent_waits import RecentWaits, WaitLog
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import OURS, step_log
from strava_pipeline.defs.steps import lane_of
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.months import Span, enclosing_span
from strava_pipeline.names import Asset
from strava_pipeline.redaction import get_logger
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

# Progress is saved, and the run's tags are set, at most this often; progress also when a pause of that length begins,
# and tags when the reason to wait changes.
SAVE_EVERY_SECONDS = 2.0
TAGS_EVERY_SECONDS = 60.0
# Until the run's own pace can be measured.
ASSUMED_SECONDS_PER_REQUEST = 0.3
Context = dg.AssetExecutionContext | dg.OpExecutionContext


@dataclass
class ProgressReporter:
    """Reports the requests and waits of one run that works on one athlete.

    ``step``: the asset that it works on; ``chosen``: those that the run works on in all; both by plain name.
    """

    context: Context
    warehouse: WarehouseResource
    sync: SyncContext
    span: Span
    rate_limits: RateLimits
    step: str
    chosen: frozenset[str]
    _began: float = field(default_factory=time.monotonic)
    _saved_at: float = float("-inf")
    _tagged_at: float = float("-inf")
    _saved_wait: tuple[str | None, datetime | None] = None, None
    _tagged_reason: str | None = None
    _recent: RecentWaits = field(default_factory=RecentWaits)
    _wait_log: WaitLog = field(default_factory=WaitLog)

    def report(self, waiting: Wait | None) -> None:
        """Save what the run works at or waits for, and log a long wait; end the run if its command was interrupted.

        Between two waits it still waits for the last reason, if waiting takes most of its time.
        """
        if stop_wanted.is_set():
            raise dg.DagsterExecutionInterruptedError
        moment = time.monotonic()
        reason = self._recent.reason(waiting, moment)
        if waiting is not None:
            self._log_wait(waiting, moment)
        if moment - self._saved_at >= SAVE_EVERY_SECONDS or self._is_news(waiting):
            self._saved_at = moment
            try:
                self._save(reason)
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
        return quota_left(
            self.sync.engine, self.rate_limits, self.span.athlete_id, lane_of(self.context, self.warehouse)
        )

    def _is_news(self, waiting: Wait | None) -> bool:
        # The request before it was reported a moment ago, and the next report comes when the wait is over.
        if waiting is None or waiting.pause_s < SAVE_EVERY_SECONDS:
            return False
        return (waiting.why, waiting.until) != self._saved_wait

    def _log_wait(self, waiting: Wait, moment: float) -> None:
        managed = self.context.instance.managed_python_loggers
        if not {OURS, "root"}.isdisjoint(managed) and log.isEnabledFor(logging.INFO):
            return  # Dagster puts what the waiting code logs into the run's log
        line = self._wait_log.line(waiting, moment)
        if line is not None:
            step_log(self.context).info("%s", line)

    def _save(self, waiting: Wait | None) -> None:
        with self.sync.engine.begin() as connection:
            done = count_done(connection, self.span, archive_details=self.sync.kept.archive_details)
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
        self._saved_wait = report.waiting_for, report.waiting_until
        if report.waiting_for != self._tagged_reason or time.monotonic() - self._tagged_at >= TAGS_EVERY_SECONDS:
            self._tagged_at, self._tagged_reason = time.monotonic(), report.waiting_for
            self._tag(report)

    def _tag(self, report: ProgressReport) -> None:
        try:
            self.context.instance.add_run_tags(self.context.run.run_id, self._tags(report))
        except Exception as error:  # noqa: BLE001  each storage of Dagster's has errors of its own
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
        end, names = report.estimated_end, self.warehouse.names
        return {
            names.athlete_tag: str(self.span.athlete_id),
            names.tag("span"): self.span.months,
            names.tag("requests"): str(report.requests),
            names.tag("waiting"): report.waiting_for or "no",
            names.tag("estimated_end"): f"{end:%Y-%m-%d %H:%M} UTC" if end else "unknown",
        }


def quota_left(engine: Engine, rate_limits: RateLimits, athlete_id: int, lane: Lane) -> int:
    """The number of calls that a lane may send now on behalf of an athlete."""
    with autocommit(engine) as connection:
        windows = scope_status(connection, rate_limits, rate_limits.scope_of(athlete_id), now(connection))
    return min(window.calls_left[lane] for window in windows)


@contextmanager
def reporting_progress(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, sync: SyncContext, spans: Sequence[Span]
) -> Iterator[ProgressReporter]:
    """Report the progress of an asset's step while one athlete's spans are worked on."""
    asset_of = warehouse.names.asset_of
    chosen = context.run.asset_selection or {context.asset_key}
    assets = frozenset(filter(None, (asset_of(key.to_user_string()) for key in chosen)))
    step = asset_of(context.asset_key.to_user_string()) or context.asset_key.to_user_string()
    with reporting(context, warehouse, sync, enclosing_span(spans), step, assets) as reporter:
        yield reporter


@contextmanager
def reporting(
    context: Context,
    warehouse: WarehouseResource,
    sync: SyncContext,
    span: Span,
    step: str,
    chosen: frozenset[str],
) -> Iterator[ProgressReporter]:
    """Report progress while one athlete's span is worked on, at first by ``step``."""
    limits = RateLimits.from_settings(warehouse.load_settings())
    reporter = ProgressReporter(context, warehouse, sync, span, limits, step, chosen)
    sync.monitor.on_change = reporter.report
    try:
        reporter.report(None)
        yield reporter
    finally:
        reporter.finish()
        step_log(context).info(
            "%s of athlete %d, %s: %d requests so far, %.0f s of them waiting",
            reporter.step,
            span.athlete_id,
            span.months,
            sync.monitor.requests,
            sync.monitor.waited.total_seconds(),
        )
