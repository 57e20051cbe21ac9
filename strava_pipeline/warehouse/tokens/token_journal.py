"""Refreshes under way: what Strava issued is committed here before anything else is done with it.

An intent is committed before Strava is asked, and the answer by the same waiting connection as the first thing after
it came, sealed for the generation it is to become. So a process may die at any line: an answer that is here is adopted
by whoever locks the athlete next. One that comes too late to be adopted stays as a candidate, in case the stored
refresh token turns out dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import stamina
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Integer,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import Text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.ops_tables import token_journal, users
from strava_pipeline.warehouse.states import GrantState

# How long an answer is held in memory while the database is away: there is no other place for it.
KEEP_TRYING_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.1
# No call to Strava takes so long.
ABANDONED = timedelta(minutes=10)
LONGEST_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Envelopes:
    """A pair of tokens sealed for one athlete and generation; the names are the columns."""

    strava_access_token: str
    strava_refresh_token: str
    strava_token_expires_at: datetime | None


@dataclass(frozen=True)
class Answer:
    """What Strava issued, sealed for the ``generation`` it was to become; ``id`` is its place in the journal."""

    id: int
    generation: int
    answered_at: datetime
    envelopes: Envelopes


@dataclass(frozen=True)
class Attempt:
    """One refresh under way, with the connection that waits for its answer."""

    engine: Engine
    connection: Connection
    id: int
    athlete_id: int
    generation: int
    follows_unanswered: bool

    def keep(self, envelopes: Envelopes) -> None:
        """Commit the answer; try for ``KEEP_TRYING_SECONDS`` without a database, then raise ``DatabaseUnavailable``."""
        try:
            self._keep_by(self.connection, envelopes)
        except DatabaseUnavailable:
            retrying = stamina.RetryingCaller(
                attempts=None,
                timeout=KEEP_TRYING_SECONDS,
                wait_initial=FIRST_WAIT_SECONDS,
                wait_max=LONGEST_WAIT_SECONDS,
                wait_jitter=FIRST_WAIT_SECONDS,
            )
            retrying(DatabaseUnavailable, self._keep_by_another, envelopes)

    def _keep_by_another(self, envelopes: Envelopes) -> None:
        with self.engine.begin() as connection:
            self._keep_by(connection, envelopes)

    def _keep_by(self, connection: Connection, envelopes: Envelopes) -> None:
        kept = connection.execute(
            update(token_journal)
            .where(token_journal.c.id == self.id)
            .values(answered_at=func.clock_timestamp(), **asdict(envelopes))
        )
        if not kept.rowcount:
            # Whoever took the athlete's lock from us has cleared the intent away: with newer tokens in their place,
            # or by an erasure. What is erased stays erased; the lock lets none overlook this.
            connection.execute(
                insert(token_journal).from_select(
                    ["athlete_id", "generation", "answered_at", *asdict(envelopes)],
                    select(
                        cast(self.athlete_id, BigInteger),
                        cast(self.generation, Integer),
                        func.clock_timestamp(),
                        cast(envelopes.strava_access_token, Text),
                        cast(envelopes.strava_refresh_token, Text),
                        cast(envelopes.strava_token_expires_at, TIMESTAMP(timezone=True)),
                    )
                    .where(users.c.athlete_id == self.athlete_id, users.c.state != GrantState.REVOKED)
                    .with_for_update(read=True, of=users),
                )
            )


@contextmanager
def record_attempt(engine: Engine, athlete_id: int, generation: int) -> Iterator[Attempt]:
    """Commit the intent to ask for tokens of this generation. The caller holds the lock on the athlete's row."""
    # Each statement is its own transaction: keeping an answer is one round trip, its commit included.
    with autocommit(engine) as connection:
        unanswered = and_(token_journal.c.athlete_id == athlete_id, token_journal.c.answered_at.is_(None))
        follows_unanswered = connection.execute(select(exists().where(unanswered))).scalar_one()
        # A younger one may be of a process that lost its lock and still waits for its answer.
        connection.execute(
            delete(token_journal).where(unanswered, token_journal.c.begun_at < func.clock_timestamp() - ABANDONED)
        )
        intent = connection.execute(
            insert(token_journal).values(athlete_id=athlete_id, generation=generation).returning(token_journal.c.id)
        ).scalar_one()
        yield Attempt(engine, connection, intent, athlete_id, generation, follows_unanswered)


def answers(connection: Connection, athlete_id: int) -> list[Answer]:
    """Everything Strava issued for an athlete that is not in use, newest first."""
    query = (
        select(
            *token_journal.c["id", "generation", "answered_at"],
            *token_journal.c["strava_access_token", "strava_refresh_token", "strava_token_expires_at"],
        )
        .where(token_journal.c.athlete_id == athlete_id, token_journal.c.answered_at.is_not(None))
        .order_by(token_journal.c.answered_at.desc(), token_journal.c.id.desc())
    )
    return [
        Answer(number, generation, answered_at, Envelopes(*envelopes))
        for number, generation, answered_at, *envelopes in connection.execute(query)
    ]


def answer_for(connection: Connection, athlete_id: int, generation: int) -> Answer | None:
    """The newest answer that waits to become this generation."""
    return next((answer for answer in answers(connection, athlete_id) if answer.generation == generation), None)


def forget(connection: Connection, entry: int) -> None:
    """An answer was adopted: it stands in ``ops.users`` now."""
    connection.execute(delete(token_journal).where(token_journal.c.id == entry))


def forget_all(connection: Connection, athlete_id: int) -> None:
    """Newer tokens work, or all of them are to go."""
    connection.execute(delete(token_journal).where(token_journal.c.athlete_id == athlete_id))
