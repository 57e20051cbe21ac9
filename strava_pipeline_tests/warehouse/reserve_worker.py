"""A process of its own that books calls until the quota is used up: ``python -m ...reserve_worker LIMIT LENGTH``.

Says ``ready``, waits for a line, and ends with the number of calls it could book.
"""

from __future__ import annotations

import sys
from datetime import timedelta

from sqlalchemy import make_url

from strava_pipeline.errors import QuotaExhausted
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.lanes import Ceilings
from strava_pipeline.strava.quota import Lane
from strava_pipeline.warehouse.engine import database_url, open_engine
from strava_pipeline.warehouse.quota import PostgresLedger


def main(limit: int, length: int) -> None:
    engine = open_engine(make_url(database_url(load_settings())))
    ceilings = Ceilings(limit, 10 * limit, length, length + 1, short_capped=True, long_capped=True)
    ledger = PostgresLedger(engine, ceilings)
    with engine.connect():
        print("ready", flush=True)  # noqa: T201  the parent reads it
    sys.stdin.readline()
    booked = 0
    try:
        while True:
            ledger.reserve(Lane.BACKFILL, "/athlete", 1, longest=timedelta(0), max_wait=timedelta(0))
            booked += 1
    except QuotaExhausted:
        print(booked)  # noqa: T201  see above


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
