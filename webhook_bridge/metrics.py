"""What ``/metrics`` tells: what this process counted, and what it last read in the background.

A scrape asks neither the database nor Dagster, so it is fast, and works while they are away. Metrics of tables are left
out then: values that stand still would look like a pipeline in which nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Metric

from strava_pipeline.warehouse.engine import pool_use
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.watch.families import Family, Kind
from webhook_bridge.background_reading import Reading
from webhook_bridge.current import Bridge

PACKAGE = "strava-pipeline"
_GAUGE = Kind.GAUGE
BUILD: Final = Family(
    _GAUGE, "build_info", "Always 1; the program's version, and the revision of its tables.", ("version", "revision")
)
RUNNING: Final = Family(
    _GAUGE, "thread_running", "1 while a thread that works in the background is alive, else 0.", ("thread",)
)
ERRORS: Final = Family(Kind.COUNTER, "thread_errors", "Errors after which a thread went on.", ("thread",))
CONNECTIONS: Final = Family(
    _GAUGE, "database_pool_connections", "Connections to the database that the bridge has open, by state.", ("state",)
)
CONNECTIONS_LIMIT: Final = Family(
    _GAUGE, "database_pool_connections_limit", "Connections that the bridge opens at most."
)
READ_AT: Final = Family(_GAUGE, "reading_timestamp_seconds", "When Dagster and the tables were last read, unix time.")
READ_SECONDS: Final = Family(_GAUGE, "reading_seconds", "How long the last reading took.")
DATABASE_UP: Final = Family(_GAUGE, "database_up", "1 if the tables could be read in the last minute, else 0.")
DAGSTER_REACHABLE: Final = Family(_GAUGE, "dagster_reachable", "1 if Dagster answered when last asked, else 0.")
QUEUED_RUNS: Final = Family(_GAUGE, "dagster_queued_runs", "Runs in Dagster's queue, of all code locations.")
# How things are with one bridge.
STATE: Final = (
    *(BUILD, RUNNING, ERRORS, CONNECTIONS, CONNECTIONS_LIMIT, READ_AT, READ_SECONDS),
    *(DATABASE_UP, DAGSTER_REACHABLE, QUEUED_RUNS),
)


def metrics_registry(bridge: Bridge) -> CollectorRegistry:
    """A registry with all metrics of a bridge, and nothing else."""
    registry = CollectorRegistry()
    registry.register(bridge.counters)
    registry.register(_State(bridge))
    return registry


class _State:
    """The metrics of how things are, rather than of what was counted."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._version = version(PACKAGE)

    def collect(self) -> Iterable[Metric]:
        yield BUILD.metric({(self._version, HEAD): 1})
        threads = self._bridge.threads
        yield RUNNING.metric({(thread.name,): thread.is_running for thread in threads})
        yield ERRORS.metric({(thread.name,): thread.errors for thread in threads})
        yield from self._pool()
        reading = self._bridge.reading.last
        if reading is not None:
            yield from _of_reading(reading)

    def _pool(self) -> Iterator[Metric]:
        pool = pool_use(self._bridge.engine)
        yield CONNECTIONS.metric({("in_use",): pool.in_use, ("idle",): pool.idle})
        yield CONNECTIONS_LIMIT.metric({(): pool.limit})


def _of_reading(reading: Reading) -> Iterator[Metric]:
    """The metrics of the last reading; ``_reading_timestamp_seconds`` tells whether it is an old one."""
    tables = reading.tables if reading.is_fresh() else None
    yield READ_AT.metric({(): reading.at})
    yield READ_SECONDS.metric({(): reading.seconds})
    yield DATABASE_UP.metric({(): tables is not None})
    yield DAGSTER_REACHABLE.metric({(): reading.queued_runs is not None})
    if reading.queued_runs is not None:
        yield QUEUED_RUNS.metric({(): reading.queued_runs})
    if tables is not None:
        yield from tables.metrics
        yield from reading.slow
