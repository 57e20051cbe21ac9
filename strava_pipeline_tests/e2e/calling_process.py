"""A process of its own that calls Strava without end: ``python -m ...calling_process ATHLETE``; a line per answer."""

from __future__ import annotations

import sys
from datetime import timedelta

from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client
from strava_pipeline.warehouse.engine import ensure_database_url, open_engine


def main(athlete_id: int) -> None:
    settings = load_settings()
    client = open_client(settings, open_engine(ensure_database_url(settings)), Lane.LIVE, timedelta(minutes=5))
    while True:
        client.get_athlete(athlete_id)
        print("answered", flush=True)  # noqa: T201  the parent reads it


if __name__ == "__main__":
    main(int(sys.argv[1]))
