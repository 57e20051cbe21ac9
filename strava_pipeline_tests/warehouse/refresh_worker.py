"""A process of its own that meets an expired token: ``python -m ...refresh_worker ATHLETE REJECTED OUTCOME``.

Talks over its pipes: says ``ready``, waits for a line, and says ``refreshing`` and waits again if it is the one
that has to call Strava. Ends with ``token TOKEN`` or ``error KIND``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import make_url

from strava_pipeline.errors import NeedsReauthorization, RetriableStravaError, StravaPipelineError
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.engine import database_url, open_engine
from strava_pipeline.warehouse.users import PostgresTokenStore


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  the parent reads it


def main(athlete_id: int, rejected: str, outcome: str) -> None:
    def refresh(refresh_token: str) -> TokenGrant:
        say(f"refreshing {refresh_token}")
        sys.stdin.readline()
        if outcome == "dead":
            raise NeedsReauthorization("RefreshToken refresh_token invalid")
        if outcome == "away":
            raise RetriableStravaError("no answer in time")
        return TokenGrant("access-2", "refresh-2", datetime.now(UTC) + timedelta(hours=6))

    settings = load_settings()
    engine = open_engine(make_url(database_url(settings)))
    store = PostgresTokenStore(engine, Keyring.parse(settings.required("token_keys")))
    say("ready")
    sys.stdin.readline()
    try:
        say(f"token {store.refreshed(athlete_id, rejected, refresh)}")
    except StravaPipelineError as error:
        say(f"error {type(error).__name__}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
