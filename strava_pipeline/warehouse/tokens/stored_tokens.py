"""An athlete's tokens as stored: encrypted, with the grant's state and the times that order refreshes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from strava_pipeline.errors import UnknownAthlete
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState


@dataclass(frozen=True, slots=True)
class StoredTokens:
    """A row of ``ops.users``, times in UTC; ``moment``: the database's time when the row was read.

    The tokens are envelopes, or ``None`` after an erasure.
    """

    athlete_id: int
    state: GrantState
    generation: int
    strava_access_token: str | None
    strava_refresh_token: str | None
    strava_token_expires_at: datetime | None
    refreshed_at: datetime | None
    refresh_not_before: datetime | None
    moment: datetime


_COLUMNS = (
    *(users.c[field.name] for field in fields(StoredTokens) if field.name != "moment"),
    database_time(),
)


def read_tokens(connection: Connection, athlete_id: int) -> StoredTokens:
    """Return an athlete's tokens. ``UnknownAthlete`` if the athlete never connected."""
    return _read(connection, athlete_id, lock=False)


def read_active_tokens(connection: Connection) -> list[StoredTokens]:
    """Return the tokens of all athletes whose grant is active as far as we know, by athlete."""
    query = select(*_COLUMNS).where(users.c.state == GrantState.ACTIVE).order_by(users.c.athlete_id)
    return [_tokens(row) for row in connection.execute(query)]


def lock_tokens(connection: Connection, athlete_id: int) -> StoredTokens:
    """Return an athlete's tokens and lock them until the transaction ends. ``UnknownAthlete`` as :func:`read_tokens`.

    The lock is weaker than that of an erasure, so rows of the athlete can be stored during a refresh.
    """
    return _read(connection, athlete_id, lock=True)


def change_tokens(connection: Connection, tokens: StoredTokens, **values: Any) -> StoredTokens:
    """Change the athlete's row and return it with the new values. The caller holds the lock of :func:`lock_tokens`."""
    row = connection.execute(
        update(users)
        .where(users.c.athlete_id == tokens.athlete_id, users.c.generation == tokens.generation)
        .values(updated_at=database_time(), **values)
        .returning(*_COLUMNS)
    ).one()
    return _tokens(row)


def unknown(athlete_id: int) -> UnknownAthlete:
    """Return the error for an athlete who never connected."""
    return UnknownAthlete(f"athlete {athlete_id} is not connected: run strava-pipeline connect")


def _read(connection: Connection, athlete_id: int, *, lock: bool) -> StoredTokens:
    query = select(*_COLUMNS).where(users.c.athlete_id == athlete_id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    if row is None:
        raise unknown(athlete_id)
    return _tokens(row)


def _tokens(row: Any) -> StoredTokens:
    athlete_id, state, *others = row
    return StoredTokens(athlete_id, GrantState(state), *others)
