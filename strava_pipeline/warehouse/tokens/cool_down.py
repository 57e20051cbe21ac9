"""After which refresh, and for how long, Strava is not asked for another one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, update

from strava_pipeline.errors import NeedsReauthorization, QuotaExhausted, RetriableStravaError, StravaError
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.stored_tokens import StoredTokens
from strava_pipeline.warehouse.tokens.token_audit import audit

# After a failed refresh, so that a storm of 401s makes one call.
COOL_DOWN = timedelta(seconds=30)
# Strava refuses what it has just issued: asking for more of it would not help.
FRESH = timedelta(seconds=60)


def note_failure(connection: Connection, athlete_id: int, error: StravaError) -> None:
    """Audit a failed refresh. Only a dead grant changes the state; anything else opens a cool-down."""
    audit(connection, athlete_id, "refresh", "failed", str(error))
    after: dict[str, Any] = {"state": GrantState.NEEDS_REAUTH}
    if not isinstance(error, NeedsReauthorization):
        until: Any = func.clock_timestamp() + COOL_DOWN
        if isinstance(error, QuotaExhausted):
            until = func.greatest(until, error.retry_at)
        after = {"refresh_not_before": until}
    connection.execute(
        update(users).where(users.c.athlete_id == athlete_id).values(updated_at=func.clock_timestamp(), **after)
    )


def refuse_while_cooling_down(tokens: StoredTokens) -> None:
    until = tokens.refresh_not_before
    if until is not None and tokens.moment < until:
        raise RetriableStravaError(
            f"refresh of athlete {tokens.athlete_id}'s token: it failed just now, and is not tried again"
            f" before {until:%H:%M:%S} UTC"
        )


def refuse_while_fresh(tokens: StoredTokens) -> None:
    """A second refresh is no cure for a token that Strava has just issued: it would begin a loop."""
    if tokens.refreshed_at is None or tokens.moment >= tokens.refreshed_at + FRESH:
        return
    if tokens.strava_token_expires_at is not None and tokens.strava_token_expires_at <= tokens.moment:
        return  # issued for less than a minute: it has ended as announced
    raise RetriableStravaError(
        f"athlete {tokens.athlete_id}'s token: Strava refuses what it issued at {tokens.refreshed_at:%H:%M:%S} UTC;"
        f" not refreshed again before {tokens.refreshed_at + FRESH:%H:%M:%S} UTC"
    )
