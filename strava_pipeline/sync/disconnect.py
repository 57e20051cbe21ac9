"""Disconnects an athlete: revokes the grant at Strava if possible, then decides the erasure here.

:mod:`strava_pipeline.sync.erasing` deletes the data afterwards. Dagster's part is a task in ``ops.users`` that
:mod:`webhook_bridge.dagster_tasks` or the command does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import requests
import stamina
from sqlalchemy import Engine

from strava_pipeline.errors import (
    ConfigurationError,
    NeedsReauthorization,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import BegunErasure, begin_erasure
from strava_pipeline.warehouse.engine import autocommit, now
from strava_pipeline.warehouse.erasure_list import Extent, note_departure
from strava_pipeline.warehouse.quota.oauth_watch import oauth_turn
from strava_pipeline.warehouse.tokens.token_audit import ENDED_BEFORE, FAILED, OK, audit
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore, has_tokens

log = get_logger(__name__)

ATTEMPTS = 3


@dataclass(frozen=True)
class Disconnected:
    """What was decided here; ``left_at_strava`` says why the grant could not be revoked, ``None`` if it has ended."""

    erasure: BegunErasure
    left_at_strava: str | None


def disconnect(settings: Settings, engine: Engine, athlete_id: int, *, keep_data: bool, actor: Actor) -> Disconnected:
    """Revoke an athlete's grant and decide the erasure, even if Strava does not revoke it. Raises ``UnknownAthlete``.

    Strava is asked first, since that needs the tokens. If the process dies in between, a second call does the rest.
    The data, unless kept, are deleted from then on: at once by whoever calls ``finish_erasure``, or soon by others. If
    they are kept, the list of erasures has the athlete when this returns; else ``finish_erasure`` sees to that.
    """
    with log_ids(athlete_id=athlete_id):
        left = _revoke_grant(settings, engine, athlete_id)
        if left is not None:
            log.warning("athlete %d: the grant was not ended at Strava: %s", athlete_id, left)
    cause = "disconnected by hand" + ("" if left is None else "; the grant was not ended at Strava")
    with autocommit(engine) as connection:
        before = now(connection)
    erasure = begin_erasure(engine, athlete_id, keep_data=keep_data, actor=actor, cause=cause)
    if not erasure.deletes_data:
        # As of before: a grant that comes afterwards must not seem older than the departure.
        note_departure(settings, athlete_id, before, Extent.DISCONNECTED)
    return Disconnected(erasure, left)


def _revoke_grant(settings: Settings, engine: Engine, athlete_id: int) -> str | None:
    """Revoke the grant at Strava; returns why that failed, ``None`` if the grant has ended. The audit says how."""
    if not has_tokens(engine, athlete_id):
        return None
    outcome, reason = _revocation(settings, engine, athlete_id)
    with engine.begin() as connection:
        audit(connection, athlete_id, "revoke", outcome, reason)
    return reason if outcome == FAILED else None


def _revocation(settings: Settings, engine: Engine, athlete_id: int) -> tuple[str, str | None]:
    """The outcome of revoking the grant at Strava, with a reason unless Strava revoked it."""
    session = new_session(settings.ca_bundle)
    try:
        tokens = open_tokens(settings, engine)
        retrying = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=None)
        retrying(RetriableStravaError, _revoke, settings, session, tokens, athlete_id)
    except NeedsReauthorization as error:
        return ENDED_BEFORE, str(error)  # the grant had ended before
    except (StravaError, ConfigurationError) as error:
        return FAILED, str(error)
    return OK, None


def _revoke(settings: Settings, session: requests.Session, tokens: PostgresTokenStore, athlete_id: int) -> None:
    pair = tokens.token_pair(athlete_id)
    try:
        with oauth_turn(tokens.engine, always=True) as turn:
            turn.watched(oauth.revoke)(settings, session, pair)
    except NeedsReauthorization:
        # Where Strava revokes by the access token alone, the token must be valid.
        tokens.refresh_once(athlete_id, pair.access_token, partial(oauth.refresh, settings, session))
        oauth.revoke(settings, session, tokens.token_pair(athlete_id))
