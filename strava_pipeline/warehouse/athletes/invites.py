"""Links by which the operator lets others connect: each is good for a week, and for as many people as was said.

A person's place is a row. It is used up once an athlete has connected by it, not by a look at the link; the row is
locked meanwhile, so that of two who come at once the second is told before anything of theirs is spent. A process that
dies in between lets go of it. Only hashes are stored: who reads the table can invite nobody.

An athlete who was disconnected does not come back by a link that they have used: their row in ``ops.users`` tells that
they left, so that whatever erases them ends their place as well, and no transaction takes locks for it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, or_, select, update

from strava_pipeline.warehouse.schema.ops_tables import invites, users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.token_store import patient_transaction

SECRET_BYTES = 32
LIFETIME = timedelta(days=7)
MOST_PEOPLE = 100
# For each place: so often Strava is asked in our name by whoever has the link. Mishaps need some.
MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class Invite:
    """A link that has not ended: ``used`` of its ``people`` have connected. ``name`` tells it apart; no secret."""

    name: str
    made_at: datetime
    expires_at: datetime
    people: int
    used: int


@dataclass(frozen=True)
class InvitePlace:
    """A person's place on a link, held; ``athlete_id`` of whoever has connected by it before."""

    id: int
    athlete_id: int | None
    connection: Connection = field(repr=False)

    def use_up(self, athlete_id: int) -> None:
        """An athlete has connected by it."""
        used = {"athlete_id": athlete_id, "used_at": func.clock_timestamp()}
        self.connection.execute(update(invites).where(invites.c.id == self.id).values(used))


def new_invite(connection: Connection, proof: str, people: int = 1) -> str:
    """The secret part of a link for so many people; links that have ended are cleared away."""
    delete_ended_invites(connection)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    row = {"secret_hash": name_of(secret), "proof": proof, "expires_at": func.clock_timestamp() + LIFETIME}
    connection.execute(insert(invites).values([row] * people))
    return secret


def name_of(secret: str) -> str:
    """What a link is called here: tells nothing of the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_known(connection: Connection, name: str, proof: str) -> bool:
    """Whether there is such a link, whoever has used it, and it has not ended."""
    return connection.execute(select(invites.c.id).where(*_good(name, proof)).limit(1)).first() is not None


def has_room(connection: Connection, name: str, proof: str, place: int | None) -> bool:
    """Whether a browser may connect by the link: a place is free, or ``place`` is the one that it has used itself."""
    return connection.execute(select(invites.c.id).where(*_open(name, proof, place)).limit(1)).first() is not None


def living_invites(connection: Connection, proof: str) -> list[Invite]:
    """The links that have not ended, oldest first; by one that is used up its athletes may still connect again."""
    query = (
        select(
            invites.c.secret_hash,
            func.min(invites.c.made_at),
            func.min(invites.c.expires_at),
            func.count(),
            func.count(invites.c.used_at),
        )
        .where(invites.c.proof == proof, invites.c.expires_at > func.clock_timestamp())
        .group_by(invites.c.secret_hash)
        .order_by(func.min(invites.c.id))
    )
    return [Invite(*row) for row in connection.execute(query)]


def cancel_invite(connection: Connection, name: str) -> bool:
    """End a link; whether it was there. Waits for a connection by it that is under way."""
    return connection.execute(delete(invites).where(invites.c.secret_hash == name)).rowcount > 0


def cancel_invites_of_other_tokens(connection: Connection, proof: str) -> int:
    """End what was made under another token, for good; returns how many places ended."""
    return connection.execute(delete(invites).where(invites.c.proof != proof)).rowcount


def delete_ended_invites(connection: Connection) -> int:
    """Delete the rows of links that have ended, but for those in use just now; returns how many."""
    ended = select(invites.c.id).where(invites.c.expires_at < func.clock_timestamp()).with_for_update(skip_locked=True)
    return connection.execute(delete(invites).where(invites.c.id.in_(ended))).rowcount


@contextmanager
def reserve_place(engine: Engine, name: str, proof: str, place: int | None) -> Iterator[InvitePlace | None]:
    """A place for one connection, which nobody else gets meanwhile; ``None`` if none is free.

    The browser that has used one before (``place``) gets that one again. It counts as an attempt unless the block
    raises: whoever fails in a way that can be tried again leaves it without an error.
    """
    query = select(invites.c.id, invites.c.athlete_id).where(*_open(name, proof, place))
    own_first = query.order_by(invites.c.used_at.is_(None), invites.c.id).limit(1)
    with patient_transaction(engine) as connection:
        row = connection.execute(own_first.with_for_update(skip_locked=True)).first()
        if row is None:
            yield None
            return
        more = invites.c.attempts + 1
        connection.execute(update(invites).where(invites.c.id == row.id).values(attempts=more))
        yield InvitePlace(row.id, row.athlete_id, connection)


def _good(name: str, proof: str) -> tuple[ColumnElement[bool], ...]:
    return (
        invites.c.secret_hash == name,
        invites.c.proof == proof,
        invites.c.expires_at > func.clock_timestamp(),
    )


def _open(name: str, proof: str, place: int | None) -> tuple[ColumnElement[bool], ...]:
    has_left = exists().where(users.c.athlete_id == invites.c.athlete_id, users.c.state == GrantState.REVOKED)
    is_own = and_(invites.c.id == place, ~has_left)
    return (*_good(name, proof), invites.c.attempts < MOST_ATTEMPTS, or_(invites.c.used_at.is_(None), is_own))
