"""Access to Strava as this installation has it: tokens and quota in the database, everything else as configured."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.quota import Lane
from strava_pipeline.strava.transport import Transport
from strava_pipeline.warehouse.quota import Ceilings, PostgresLedger
from strava_pipeline.warehouse.users import PostgresTokenStore


def open_client(settings: Settings, engine: Engine, lane: Lane, max_wait: timedelta) -> StravaClient:
    """The client of a lane, with its tokens and its quota in the database; waits at most ``max_wait``."""
    session = new_session()
    return StravaClient(
        Transport(
            api_url=settings.api_url,
            lane=lane,
            ledger=PostgresLedger(engine, Ceilings.from_settings(settings)),
            tokens=PostgresTokenStore(engine, Keyring.parse(settings.required("token_keys"))),
            refresh=partial(oauth.refresh, settings, session),
            max_wait=max_wait,
            session=session,
        )
    )
