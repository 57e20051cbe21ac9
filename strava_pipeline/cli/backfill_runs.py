"""Executes one run of ``strava-pipeline backfill`` to its end: again and again, if a database was away meanwhile.

What is stored is skipped, so a run that is repeated goes on where the one before ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from sqlalchemy import Engine

from strava_pipeline.cli.dagsters_database import outage_behind, outage_told_by
from strava_pipeline.defs.pools import free_slots
from strava_pipeline.errors import DatabaseUnavailable, StravaPipelineError
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine
from strava_pipeline.warehouse.write_probe import probe_write

if TYPE_CHECKING:
    from dagster import DagsterInstance, ExecuteInProcessResult

log = get_logger(__name__)

Result = TypeVar("Result")
LONGEST_PAUSE_SECONDS = 20.0
LOG_EVERY_SECONDS = 600.0
# A run that worked for so long before it died met another outage than the run before it.
ANOTHER_OUTAGE_SECONDS = 3600.0


class BackfillFailed(StravaPipelineError):
    """A run of the backfill failed; the run log has the details."""


@dataclass
class Databases:
    """Our database and Dagster's, and how to wait until they work: ``pause`` lets a time in seconds pass.

    ``dagsters`` connects to Dagster's database at once or not at all; the instance itself tries for eleven seconds.
    """

    engine: Engine
    dagsters: Engine
    instance: DagsterInstance
    patience: timedelta
    pause: Callable[[float], object] = stop_wanted.wait

    def patiently(self, work: Callable[[], Result]) -> Result:
        """Return the result of ``work``, which is done again while a database's outage keeps it from one."""
        began = 0.0
        while True:
            try:
                return work()
            except Exception as error:
                reason = outage_behind(error)
                if reason is None or stop_wanted.is_set():
                    raise
                began = began or time.monotonic()
                self.wait(None, reason, began)

    def wait(self, run_id: str | None, reason: str, began: float) -> None:
        """Wait until both work, and mark the run that their outage ended, if any, as failed.

        ``began``: when the outage began, by :func:`time.monotonic`. ``BackfillFailed`` once the patience is used up.
        Returns at once when this process is asked to stop.
        """
        told_at, pause_s = -LOG_EVERY_SECONDS, 1.0
        since = datetime.now(UTC) - timedelta(seconds=time.monotonic() - began)
        away: str | None = reason
        while away is not None and not stop_wanted.is_set():
            waited = time.monotonic() - began
            if waited >= self.patience.total_seconds():
                raise BackfillFailed(f"gave up after {waited / 3600:.1f} h: {away}: run the same command to go on")
            if waited - told_at >= LOG_EVERY_SECONDS:
                log.warning("waiting since %s: %s", f"{since:%Y-%m-%d %H:%M} UTC", away)
                told_at = waited
            self.pause(min(pause_s, self.patience.total_seconds() - waited))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_SECONDS)
            away = self._why_away(run_id, reason)

    def check(self) -> None:
        """Raise ``DatabaseUnavailable`` at once if one of them is away, or ours accepts no writes."""
        probe_write(self.engine)
        self.dagsters.connect().close()

    def _why_away(self, run_id: str | None, reason: str) -> str | None:
        """Mark the run as failed; return why that is not possible yet, if so."""
        try:
            self.check()
            if run_id is not None:
                self._end(run_id, reason)
        except DatabaseUnavailable as error:
            return str(error)  # one that answers too slowly, too
        except Exception as error:
            away = outage_behind(error)
            if away is None:
                raise
            return away
        return None

    def _end(self, run_id: str, reason: str) -> None:
        run = self.instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self.instance.report_run_failed(run, f"a database was away, so the run is executed again: {reason}")
        free_slots(self.instance, run_id)


@contextmanager
def opened(settings: Settings, engine: Engine, instance: DagsterInstance) -> Iterator[Databases]:
    """The databases of a command, with the patience of the settings."""
    dagsters = open_engine(parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL"))
    try:
        yield Databases(engine, dagsters, instance, timedelta(hours=settings.outage_patience_hours))
    finally:
        dagsters.dispose()


def run_to_its_end(
    execute: Callable[[str], ExecuteInProcessResult], databases: Databases
) -> ExecuteInProcessResult | None:
    """Execute a run, given its id, and execute it again while a database's outage ends it.

    ``None`` if this process was asked to stop. ``BackfillFailed`` if the databases are away for longer than their
    patience.
    """
    began = 0.0
    while not stop_wanted.is_set():
        run_id, started = str(uuid4()), time.monotonic()
        result, reason = _executed(execute, run_id)
        if reason is None:
            return result
        if not began or time.monotonic() - started > ANOTHER_OUTAGE_SECONDS:
            began = time.monotonic()
        databases.wait(run_id, reason, began)
    return None


def _executed(
    execute: Callable[[str], ExecuteInProcessResult], run_id: str
) -> tuple[ExecuteInProcessResult | None, str | None]:
    """The result of a run, and why a database is away, if that is what ended it."""
    try:
        result = execute(run_id)
    except Exception as error:
        reason = outage_behind(error)
        if reason is None:
            raise
        return None, reason
    failures = result.filter_events(lambda event: event.is_failure)
    return result, next(filter(None, map(outage_told_by, failures)), None)
