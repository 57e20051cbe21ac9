"""The journal of token refreshes: new tokens are committed here before anything else is done with them.

An intent is committed before the request to Strava. The answer is committed as soon as it arrives, on a connection that
was kept open for it, encrypted for the generation that it will become. From then on a process may die at any line: the
next process that locks the athlete adopts the answer into ``ops.users``. An answer that comes too late to be adopted
stays, and is tried if the stored refresh token turns out dead.

What is left is the moment between Strava's answer and that commit: if the process dies in it, the new tokens are lost.
The next refresh then sends the old refresh token. If Strava refuses it, the athlete has to connect again.
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
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import Text

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import token_journal, users
from strava_pipeline.warehouse.states import GrantState

# How long storing an answer is tried while the database is unavailable: until then the answer is in memory only.
KEEP_TRYING_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.1
# No call to Strava takes this long, so an older intent without an answer will never get one.
ABANDONED = timedelta(minutes=10)
LONGEST_WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Envelopes:
    """A pair of tokens encrypted for one athlete and generation; the fields are named like the columns."""

    strava_access_token: str
    strava_refresh_token: str
    strava_token_expires_at: datetime | None


@dataclass(frozen=True)
class Answer:
    """Tokens that Strava issued, encrypted for the ``generation`` that they will become; ``id``: the journal's row."""

    id: int
    generation: int
    answered_at: datetime
    envelopes: Envelopes


@dataclass(frozen=True)
class Attempt:
    """One refresh under way, with the connection that is kept open to store its answer.

    ``follows_unanswered``: an earlier attempt for the athlete had no answer when this one began.
    """

    engine: Engine
    connection: Connection
    id: int
    athlete_id: int
    generation: int
    follows_unanswered: bool

    def keep(self, envelopes: Envelopes) -> None:
        """Commit the answer. ``DatabaseUnavailable`` if that fails for ``KEEP_TRYING_SECONDS``."""
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
            .values(answered_at=database_time(), **asdict(envelopes))
        )
        if not kept.rowcount:
            # Another process got the athlete's lock and deleted the intent, because it stored newer tokens or erased
            # the athlete. The answer is inserted anew, unless the athlete was erased. The lock on the athlete's row
            # makes an erasure come before this statement, which then inserts nothing, or after it, and delete its row.
            connection.execute(
                insert(token_journal).from_select(
                    ["athlete_id", "generation", "answered_at", *asdict(envelopes)],
                    select(
                        cast(self.athlete_id, BigInteger),
                        cast(self.generation, Integer),
                        database_time(),
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
    """Commit the intent to ask for tokens of this generation, and yield it as an attempt.

    The caller holds the lock on the athlete's row.
    """
    # Each statement is its own transaction: storing an answer and committing it is one round trip.
    with autocommit(engine) as connection:
        unanswered = and_(token_journal.c.athlete_id == athlete_id, token_journal.c.answered_at.is_(None))
        follows_unanswered = connection.execute(select(exists().where(unanswered))).scalar_one()
        # A younger intent may be of a process that lost its lock and still waits for its answer.
        connection.execute(
            delete(token_journal).where(unanswered, token_journal.c.begun_at < database_time() - ABANDONED)
        )
        intent = connection.execute(
            insert(token_journal).values(athlete_id=athlete_id, generation=generation).returning(token_journal.c.id)
        ).scalar_one()
        yield Attempt(engine, connection, intent, athlete_id, generation, follows_unanswered)


def answers(connection: Connection, athlete_id: int) -> list[Answer]:
    """Return all answers for an athlete that were not adopted, newest first."""
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
    """Return the newest answer for this generation that was not adopted; ``None`` if there is none."""
    return next((answer for answer in answers(connection, athlete_id) if answer.generation == generation), None)


def delete_entry(connection: Connection, entry: int) -> None:
    """Delete an answer that was adopted, and so is in ``ops.users``."""
    connection.execute(delete(token_journal).where(token_journal.c.id == entry))


def delete_entries(connection: Connection, athlete_id: int) -> None:
    """Delete all intents and answers of an athlete, because newer tokens work or all tokens are erased."""
    connection.execute(delete(token_journal).where(token_journal.c.athlete_id == athlete_id))
