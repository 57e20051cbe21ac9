"""Connected athletes and their tokens: stored as envelopes, refreshed once for all processes, audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import NeedsReauthorization, StravaError, UnknownAthlete
from strava_pipeline.keyring import Keyring, Place
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.ops_tables import token_audit, users

ACTIVE = "active"
NEEDS_REAUTH = "needs_reauth"
# Longer than the HTTP deadline of the refresh that the holder of the lock may be in.
ROW_LOCK_MILLISECONDS = 45_000
ACCESS = "strava_access_token"
REFRESH = "strava_refresh_token"


@dataclass(frozen=True)
class PostgresTokenStore:
    """Reads and refreshes tokens in ``ops.users``; plaintext exists only in the caller's hands."""

    engine: Engine
    keyring: Keyring

    def access_token(self, athlete_id: int) -> str:
        """The token to use now. ``UnknownAthlete``, ``NeedsReauthorization`` or ``TokenUnreadable``."""
        with self.engine.connect() as connection:
            return self._open(_row(connection, athlete_id), ACCESS)

    def refreshed(self, athlete_id: int, rejected: str, refresh: Callable[[str], TokenGrant]) -> str:
        """A token other than ``rejected``. The row's lock lets one process call Strava; the rest wait and read."""
        with self.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = {ROW_LOCK_MILLISECONDS}"))
            row = _row(connection, athlete_id, lock=True)
            current = self._open(row, ACCESS)
            if current != rejected:
                return current
            refresh_token = self._open(row, REFRESH)
            try:
                grant = refresh(refresh_token)
            except StravaError as error:
                failure = error
                # Committed before the lock goes, so that whoever waits for it sees a dead grant and does not try.
                self._note_failure(connection, athlete_id, error)
            else:
                self._store(connection, athlete_id, row.generation + 1, grant)
                audit(connection, athlete_id, "refresh", "ok")
                return grant.access_token
        raise failure

    def connect(self, grant: TokenGrant, scopes: Sequence[str]) -> int:
        """Store the tokens of a code exchange; returns the athlete's id."""
        athlete_id: int = (grant.athlete or {})["id"]
        with self.engine.begin() as connection:
            connection.execute(
                insert_or_update(users)
                .values(athlete_id=athlete_id, scopes=[], state=NEEDS_REAUTH, generation=0)
                .on_conflict_do_nothing()
            )
            generation = connection.execute(
                select(users.c.generation).where(users.c.athlete_id == athlete_id).with_for_update()
            ).scalar_one()
            self._store(connection, athlete_id, generation + 1, grant, scopes=list(scopes), state=ACTIVE)
            audit(connection, athlete_id, "exchange", "ok")
        return athlete_id

    def _open(self, row: Row[Any], column: str) -> str:
        envelope = getattr(row, column)
        if row.state != ACTIVE or envelope is None:
            raise NeedsReauthorization(f"athlete {row.athlete_id} is {row.state}: connect the athlete again")
        return self.keyring.decrypt(envelope, Place(row.athlete_id, column, row.generation))

    def _store(self, connection: Connection, athlete_id: int, generation: int, grant: TokenGrant, **more: Any) -> None:
        sealed = {
            column: self.keyring.encrypt(token, Place(athlete_id, column, generation))
            for column, token in ((ACCESS, grant.access_token), (REFRESH, grant.refresh_token))
        }
        connection.execute(
            update(users)
            .where(users.c.athlete_id == athlete_id)
            .values(
                **sealed,
                strava_token_expires_at=grant.expires_at,
                generation=generation,
                updated_at=func.clock_timestamp(),
                **more,
            )
        )

    def _note_failure(self, connection: Connection, athlete_id: int, error: StravaError) -> None:
        """Audit a failed refresh; only a dead grant changes the state."""
        audit(connection, athlete_id, "refresh", "failed", str(error))
        if isinstance(error, NeedsReauthorization):
            connection.execute(
                update(users)
                .where(users.c.athlete_id == athlete_id)
                .values(state=NEEDS_REAUTH, updated_at=func.clock_timestamp())
            )


def audit(
    connection: Connection, athlete_id: int | None, operation: str, outcome: str, detail: str | None = None
) -> None:
    """One row in the log of token operations; ``detail`` never holds a token."""
    connection.execute(
        insert(token_audit).values(athlete_id=athlete_id, operation=operation, outcome=outcome, detail=detail)
    )


def active_athletes(connection: Connection) -> list[int]:
    """Ids of everybody whose tokens are good as far as we know, in order."""
    query = select(users.c.athlete_id).where(users.c.state == ACTIVE).order_by(users.c.athlete_id)
    return list(connection.execute(query).scalars())


def _row(connection: Connection, athlete_id: int, *, lock: bool = False) -> Row[Any]:
    query = select(users).where(users.c.athlete_id == athlete_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise UnknownAthlete(f"athlete {athlete_id} is not connected: run strava-pipeline connect")
    return row
