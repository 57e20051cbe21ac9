"""A process of its own that books calls: ``python -m ...reserve_worker LIMIT LENGTH MOST``.

Says ``ready``, waits for a line, books until the quota is used up but no more than MOST calls, says how many it
could book, and lives on with them until its input ends.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import ensure_database_url, open_engine
from strava_pipeline.warehouse.quota.ledger import PostgresLedger


def main(limit: int, length: int, most: int) -> None:
    engine = open_engine(ensure_database_url(load_settings()))
    ledger = PostgresLedger(engine, RateLimits(limit, 10 * limit, length, length + 1))
    with engine.connect():
        print("ready", flush=True)  # noqa: T201  the parent reads it
    sys.stdin.readline()
    booked = 0
    try:
        while booked < most:
            ledger.reserve(Lane.LIVE, "/athlete", 1, longest=timedelta(0), max_wait=timedelta(0))
            booked += 1
    except QuotaExhausted:
        pass
    print(booked, flush=True)  # noqa: T201  see above
    sys.stdin.read()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
