"""Reads again and again what ``/metrics`` and ``/health/ready`` tell, so that neither waits for anybody: a thread.

It asks Dagster for its queue, and the tables for the inbox and, if somebody may scrape the bridge, for metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from prometheus_client import Metric
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import autocommit, limit_statements
from strava_pipeline.warehouse.inbox.overview import longest_due
from strava_pipeline.warehouse.watch.totals import add_finished
from strava_pipeline.watch.table_metrics import slow_table_metrics, table_metrics
from webhook_bridge.dagster_api import queued_runs
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.worker_thread import WorkerThread, first_line

log = get_logger(__name__)

EVERY_SECONDS = 15.0
# How long one reading adds what has ended to the totals; what is left then has its turn at the next one.
ADDING_SECONDS = 10.0
# Metrics for which each athlete is looked at, and how long each of their queries may take.
SLOW_EVERY_SECONDS = 60.0
SLOW_QUERY_MILLISECONDS = 20_000
# What was read longer ago is not told any more: the thread hangs, most likely in a query.
FRESH_SECONDS = 60.0
Found = TypeVar("Found")
ReadMetrics = Callable[[Connection, Settings], Sequence[Metric]]


@dataclass(frozen=True)
class TableMetrics:
    """How metrics are read from the tables: the fast ones each time, the slow ones once a minute."""

    fast: ReadMetrics = table_metrics
    slow: ReadMetrics = slow_table_metrics


@dataclass(frozen=True)
class Tables:
    """What the tables told: how long the first event that is due has waited, and their metrics."""

    longest_due: timedelta
    metrics: Sequence[Metric]


@dataclass(frozen=True)
class Reading:
    """What was read at one time: ``at``, unix s; ``seconds`` that it took.

    ``queued_runs``: in Dagster's queue; ``None`` if Dagster did not answer. ``tables``: ``None`` if the database did
    not. ``slow``: metrics of the tables that are read once a minute.
    """

    at: float
    seconds: float
    queued_runs: int | None
    tables: Tables | None
    slow: Sequence[Metric] = ()

    def is_fresh(self) -> bool:
        """Whether it still tells how things are."""
        return time.time() - self.at < FRESH_SECONDS


class BackgroundReading(WorkerThread):
    """A thread that reads until stopped; ``last`` is its last reading, if there is one yet.

    Without ``metrics`` those of the tables are not read.
    """

    def __init__(self, settings: Settings, engine: Engine, metrics: TableMetrics | None = None) -> None:
        super().__init__("background-reading")
        self.last: Reading | None = None
        self._settings = settings
        self._dagster = DagsterServer.from_settings(settings)
        self._engine = engine
        self._metrics = metrics
        self._slow: Sequence[Metric] = ()
        self._slow_at = float("-inf")
        self._failing: set[str] = set()

    def work(self) -> None:
        """Read again and again."""
        while not self.stopping.is_set():
            self.read()
            self.rest(EVERY_SECONDS)

    def read(self) -> None:
        """Read everything once; what cannot be read is left out, and its first failure logged."""
        began = time.monotonic()
        queued = self._tried("Dagster's queue", lambda: queued_runs(self._dagster))
        tables = self._tried("the tables", self._tables)
        self.last = Reading(time.time(), time.monotonic() - began, queued, tables, self._slow)
        metrics = self._metrics
        if metrics is not None and tables is not None and began - self._slow_at >= SLOW_EVERY_SECONDS:
            # Nobody waits for these to learn the others.
            self._slow_at = began
            self._slow = self._tried("the slow metrics of the tables", lambda: self._read_slow(metrics.slow)) or ()
            self.last = replace(self.last, seconds=time.monotonic() - began, slow=self._slow)

    def _tables(self) -> Tables:
        if self._metrics is not None:
            ends_at = time.monotonic() + ADDING_SECONDS
            add_finished(self._engine, lambda: not self.stopping.is_set() and time.monotonic() < ends_at)
        with autocommit(self._engine) as connection:
            fast = () if self._metrics is None else self._metrics.fast(connection, self._settings)
            return Tables(longest_due(connection), fast)

    def _read_slow(self, read: ReadMetrics) -> Sequence[Metric]:
        with self._engine.begin() as connection:
            limit_statements(connection, SLOW_QUERY_MILLISECONDS)
            return read(connection, self._settings)

    def _tried(self, what: str, read: Callable[[], Found]) -> Found | None:
        try:
            found = read()
        except (StravaPipelineError, SQLAlchemyError) as error:
            self._note_failure(what, first_line(error))
        except Exception as error:  # noqa: BLE001  a fault of this program must not end what tells of faults
            self._note_failure(what, type(error).__name__, error)
        else:
            self._failing.discard(what)
            return found
        return None

    def _note_failure(self, what: str, reason: str, fault: Exception | None = None) -> None:
        self.errors += 1
        if what not in self._failing:
            log.warning("%s cannot be read for metrics and health: %s", what, reason, exc_info=fault)
        self._failing.add(what)
