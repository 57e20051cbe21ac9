"""The times in which no token is refreshed: cool-downs after a refresh, and while Strava's OAuth is away."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, update

from strava_pipeline.errors import (
    NeedsReauthorization,
    QuotaExhausted,
    RefreshDelayed,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.mail.reconnect import ask_to_reconnect
from strava_pipeline.warehouse.quota.oauth_watch import away_from_refreshes
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.stored_tokens import StoredTokens
from strava_pipeline.warehouse.tokens.token_audit import audit

# After a failed refresh: many requests that get a 401 at once then cause one refresh, not many.
COOL_DOWN = timedelta(seconds=30)
# Without quota for a refresh, the day's is waited for.
LONGEST_COOL_DOWN = timedelta(days=1, minutes=1)
# After a refresh that worked: if Strava refuses a token this young, another refresh would not help.
FRESH = timedelta(seconds=60)


def note_failure(connection: Connection, athlete_id: int, error: StravaError) -> StravaError:
    """Audit a failed refresh, and return the error to raise: ``RefreshDelayed`` for one that may pass.

    ``NeedsReauthorization`` sets the state ``needs_reauth``, and queues the mail that asks the athlete to connect
    again. Other errors start a cool-down. It lasts ``COOL_DOWN``, or until ``retry_at`` of a ``QuotaExhausted`` if that
    is later.
    """
    audit(connection, athlete_id, "refresh", "failed", str(error))
    after: dict[str, Any] = {"state": GrantState.NEEDS_REAUTH}
    if isinstance(error, NeedsReauthorization):
        ask_to_reconnect(connection, athlete_id)
    else:
        until: Any = database_time() + COOL_DOWN
        if isinstance(error, QuotaExhausted):
            until = func.least(func.greatest(until, error.retry_at), database_time() + LONGEST_COOL_DOWN)
        after = {"refresh_not_before": until}
    changed = update(users).where(users.c.athlete_id == athlete_id).values(updated_at=database_time(), **after)
    retry_at = connection.execute(changed.returning(users.c.refresh_not_before)).scalar_one()
    if isinstance(error, RetriableStravaError) and not isinstance(error, QuotaExhausted):
        return RefreshDelayed(str(error), retry_at=retry_at)
    return error


def refuse_while_cooling_down(tokens: StoredTokens) -> None:
    """Raise ``RefreshDelayed`` while the cool-down after a failed refresh lasts."""
    until = _cools_down_until(tokens)
    if until is not None:
        raise RefreshDelayed(
            f"refresh of athlete {tokens.athlete_id}'s token: it failed just now, and is not tried again"
            f" before {until:%H:%M:%S} UTC",
            retry_at=until,
        )


def refuse_while_away(engine: Engine, tokens: StoredTokens) -> None:
    """Raise ``StravaAway`` if the stored token is known not to work, and OAuth is away and gives no other now.

    A token does not work during a cool-down, nor once it has expired: Strava would answer with a 401, which counts.
    """
    until = _cools_down_until(tokens)
    if until is None and not _has_expired(tokens):
        return
    with autocommit(engine) as connection:
        error = away_from_refreshes(connection, tokens.moment, rests_until=until)
    if error is not None:
        raise error


def _cools_down_until(tokens: StoredTokens) -> datetime | None:
    """When the cool-down of now ends (UTC); ``None`` if there is none.

    An end further away than any was written before the database's clock was set back.
    """
    until = tokens.refresh_not_before
    if until is None or not tokens.moment < until <= tokens.moment + LONGEST_COOL_DOWN:
        return None
    return until


def refuse_while_fresh(tokens: StoredTokens) -> None:
    """Raise ``RetriableStravaError`` if the tokens were refreshed less than ``FRESH`` ago and have not expired.

    A token that Strava refuses right after it was issued would otherwise be refreshed in a loop.
    """
    if tokens.refreshed_at is None or tokens.moment >= tokens.refreshed_at + FRESH:
        return
    if _has_expired(tokens):
        return  # a token issued for less than FRESH expired as announced
    raise RetriableStravaError(
        f"athlete {tokens.athlete_id}'s token: Strava refuses what it issued at {tokens.refreshed_at:%H:%M:%S} UTC;"
        f" not refreshed again before {tokens.refreshed_at + FRESH:%H:%M:%S} UTC"
    )


def _has_expired(tokens: StoredTokens) -> bool:
    return tokens.strava_token_expires_at is not None and tokens.strava_token_expires_at <= tokens.moment
