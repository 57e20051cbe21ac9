"""Counts the requests and the rewritten rows when months in which nothing changed are imported again.

80 activities with details and streams are imported from a mock, and then imported again. Takes about half a minute.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta

import requests
from sqlalchemy import Engine, text

from benchmarks.backfill import connected, mock
from benchmarks.database import migrated_server, owner_url
from benchmarks.figure import show
from benchmarks.many_activities import ATHLETE, YEARS
from strava_pipeline.months import Span
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.context import SyncContext, open_sync
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.engine import open_engine

COUNT = 80
TABLES = ("strava.activities", "strava.laps", "strava.splits", "strava.segment_efforts", "strava.activity_streams")


def main() -> None:
    """Import twice, and compare the rows' places and transactions in Postgres."""
    with (
        migrated_server() as server,
        mock(COUNT) as address,
        tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as home,
    ):
        os.environ.update(connected(server, address, home))
        engine = open_engine(owner_url(server))
        sync = open_sync(load_settings(), engine, Lane.BACKFILL, timedelta(minutes=1))
        now = datetime.now(UTC)
        span = Span(ATHLETE, now - timedelta(days=366 * YEARS), now)
        _import(sync, span)
        before, asked = _rows(engine), _requests(address)
        _import(sync, span)
        rewritten = len(_rows(engine) - before)
        sent = _requests(address) - asked
        engine.dispose()
    show("activities of the span", COUNT)
    show("requests of a second pass", sent, "", "1")
    show("rows rewritten by a second pass", rewritten, "", "0")


def _import(sync: SyncContext, span: Span) -> None:
    list(import_summaries(sync, [span]))
    import_details(sync, span)
    import_streams(sync, span)


def _rows(engine: Engine) -> set[tuple[str, str, str]]:
    """The place of each row, and the transaction that wrote it."""
    found = set()
    with engine.connect() as connection:
        for table in (*TABLES, "ops.payloads"):
            query = text(f"SELECT ctid::text, xmin::text FROM {table}")  # noqa: S608  constants
            found |= {(table, row[0], row[1]) for row in connection.execute(query)}
    return found


def _requests(address: str) -> int:
    calls: int = requests.get(f"{address}/mock/calls", timeout=60).json()["totals"]["calls"]
    return calls


if __name__ == "__main__":
    main()
