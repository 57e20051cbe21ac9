"""Opens access to Strava: tokens and quota are in the database, everything else comes from the settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from sqlalchemy import Engine

from strava_pipeline.errors import ConfigurationError, RefreshDelayed, StravaAway
from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.monitor import RequestMonitor
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.strava.subscriptions import AppAccess
from strava_pipeline.strava.transport import TokenStore, Transport
from strava_pipeline.warehouse.pauses import REAL_PAUSES, Pauses
from strava_pipeline.warehouse.quota.ledger import CheckingLedger, PostgresLedger
from strava_pipeline.warehouse.tokens.key_checks import check_keys
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore

# A command waits until the next quarter hour, but not until the next day.
COMMAND_MAX_WAIT = timedelta(minutes=16)
# How long the other runs than backfills wait while Strava does not answer. Events and upkeep's tasks wait on lists.
OUTAGE_PATIENCE = {Lane.LIVE: timedelta(0), Lane.RECONCILE: timedelta(0)}


def open_tokens(settings: Settings, engine: Engine, *, checks_restore: bool = False) -> PostgresTokenStore:
    """Open the stored tokens; ``ConfigurationError`` if they were encrypted with other keys than those configured.

    ``checks_restore``: as of the token store.
    """
    keyring = Keyring.parse(settings.required("token_keys"))
    check_keys(engine, keyring)
    return PostgresTokenStore(engine, keyring, checks_restore)


class NoTokens(TokenStore):
    """The tokens where no keys are set: nobody connects there, and what works without Strava works all the same."""

    def access_token(self, athlete_id: int) -> Secret:
        """Raise ``ConfigurationError``."""
        raise ConfigurationError(
            f"STRAVA_TOKEN_KEYS is not set, so Strava cannot be asked for athlete {athlete_id}: set it to the keys with"
            " which the athlete's tokens were stored"
        )

    def refresh_once(self, athlete_id: int, rejected: Secret, refresh: Callable[[Secret], TokenGrant]) -> Secret:
        """Raise ``ConfigurationError``."""
        del rejected, refresh
        return self.access_token(athlete_id)


def check_access(settings: Settings, engine: Engine, athlete_id: int) -> None:
    """Raise the error that every run for an athlete would end with: of wrong keys, or of a grant that has ended.

    A token that cannot be refreshed just now is none: the runs wait for that.
    """
    with suppress(RefreshDelayed, StravaAway):
        open_tokens(settings, engine).access_token(athlete_id)


def open_client(
    settings: Settings,
    engine: Engine,
    lane: Lane,
    max_wait: timedelta,
    monitor: RequestMonitor | None = None,
    pauses: Pauses = REAL_PAUSES,
    outage_patience: timedelta = timedelta(0),
    *,
    goes_first: bool = False,
) -> StravaClient:
    """Open the client of a lane, with tokens and quota in the database; it waits at most ``max_wait`` for quota.

    While Strava does not answer it waits ``outage_patience`` beside that. ``goes_first``: other backfills leave their
    room to its calls.
    """
    session = new_session(settings.ca_bundle)
    return StravaClient(
        Transport(
            api_url=settings.api_url,
            lane=lane,
            ledger=_open_ledger(settings, engine, monitor, pauses, goes_first=goes_first),
            tokens=NoTokens() if settings.token_keys is None else open_tokens(settings, engine),
            refresh=partial(oauth.refresh, settings, session),
            max_wait=max_wait,
            outage_patience=outage_patience,
            session=session,
        )
    )


def open_checking_client(settings: Settings, engine: Engine) -> StravaClient:
    """Open the client that compares a restored database with Strava, before which nobody else may call.

    It leaves the live lane its reserve: webhooks have come meanwhile, and are due right after it.
    """
    session = new_session(settings.ca_bundle)
    return StravaClient(
        Transport(
            api_url=settings.api_url,
            lane=Lane.BACKFILL,
            ledger=CheckingLedger(engine, RateLimits.from_settings(settings)),
            tokens=open_tokens(settings, engine, checks_restore=True),
            refresh=partial(oauth.refresh, settings, session),
            max_wait=COMMAND_MAX_WAIT,
            session=session,
        )
    )


def outage_patience(settings: Settings, lane: Lane) -> timedelta:
    """Return how long a call of a lane's run waits while Strava does not answer, or has the app switched off."""
    return OUTAGE_PATIENCE.get(lane, timedelta(hours=settings.outage_patience_hours))


def open_app_access(settings: Settings, engine: Engine, max_wait: timedelta) -> AppAccess:
    """Open Strava's API for calls in the app's own name; a call waits at most ``max_wait`` for quota."""
    return AppAccess(settings, _open_ledger(settings, engine), max_wait, new_session(settings.ca_bundle))


def _open_ledger(
    settings: Settings,
    engine: Engine,
    monitor: RequestMonitor | None = None,
    pauses: Pauses = REAL_PAUSES,
    *,
    goes_first: bool = False,
) -> PostgresLedger:
    limits = RateLimits.from_settings(settings)
    return PostgresLedger(engine, limits, sleep=pauses.sleep, monitor=monitor, goes_first=goes_first)
