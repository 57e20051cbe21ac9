"""Invitations: links by which others connect, each valid for a week and for a given number of people.

Each person's place on a link is a row. A place is used up when an athlete has connected by it, not when the link is
opened. The row is locked while somebody connects, so a second person who uses the same place is refused before their
code is spent at Strava; the lock ends with a process that dies. Only hashes are stored, so a reader of the table cannot
invite anybody.

A disconnected athlete cannot connect again by a link that they have used. This follows from the state of their row in
``ops.users``, so an erasure need not change invitations, nor take locks on them.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, insert, or_, select, update

from strava_pipeline.warehouse.schema.access_tables import invites
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.token_store import patient_transaction

SECRET_BYTES = 32
LIFETIME = timedelta(days=7)
# A link in a mail to one athlete makes a new one each time it is opened after this.
OWN_LIFETIME = timedelta(days=1)
MOST_PEOPLE = 100
# Attempts to connect per place. Each may cause a request to Strava, and some fail by mishap.
MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class Invite:
    """A link that has not ended (times in UTC): ``used`` of its ``people`` have connected. ``name`` is no secret."""

    name: str
    made_at: datetime
    expires_at: datetime
    people: int
    used: int


@dataclass(frozen=True)
class InvitePlace:
    """A person's place on a link, locked by ``connection``.

    ``athlete_id``: who connected by the place before, or alone may connect by it.
    """

    id: int
    athlete_id: int | None
    connection: Connection = field(repr=False)

    def use_up(self, athlete_id: int) -> None:
        """Note that an athlete has connected by this place."""
        used = {"athlete_id": athlete_id, "used_at": database_time()}
        self.connection.execute(update(invites).where(invites.c.id == self.id).values(used))


def new_invite(connection: Connection, proof: str, people: int = 1) -> str:
    """Store a new link for so many people and return its secret part. Links that have ended are deleted."""
    delete_ended_invites(connection)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    row = {"secret_hash": name_of(secret), "proof": proof, "expires_at": database_time() + LIFETIME}
    connection.execute(insert(invites).values([row] * people))
    return secret


def open_own_invite(connection: Connection, proof: str, secret: str, athlete_id: int) -> str:
    """Store a link by which this athlete alone may connect, unless there is one; return its name."""
    delete_ended_invites(connection)
    name = name_of(secret)
    if not is_known(connection, name, proof):
        row = {"secret_hash": name, "proof": proof, "athlete_id": athlete_id}
        connection.execute(insert(invites).values(row | {"expires_at": database_time() + OWN_LIFETIME}))
    return name


def name_of(secret: str) -> str:
    """Return the name of a link: the SHA-256 of its secret part, which does not reveal the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def is_known(connection: Connection, name: str, proof: str) -> bool:
    """Whether a link of this name exists and has not ended; its places may all be used."""
    return connection.execute(select(invites.c.id).where(*_good(name, proof)).limit(1)).first() is not None


def has_room(connection: Connection, name: str, proof: str, place: int | None) -> bool:
    """Whether a browser may connect by the link: a place is free, or the browser itself has used ``place`` before."""
    return connection.execute(select(invites.c.id).where(*_open(name, proof, place)).limit(1)).first() is not None


def living_invites(connection: Connection, proof: str) -> list[Invite]:
    """Return the links that have not ended, oldest first.

    A link whose places are all used is included: its athletes may still connect again by it. The operator did not make
    those that wait for one athlete, and they come back after a cancel: they are not included.
    """
    is_for_one = and_(invites.c.athlete_id.is_not(None), invites.c.used_at.is_(None))
    query = (
        select(
            invites.c.secret_hash,
            func.min(invites.c.made_at),
            func.min(invites.c.expires_at),
            func.count(),
            func.count(invites.c.used_at),
        )
        .where(invites.c.proof == proof, invites.c.expires_at > database_time(), ~is_for_one)
        .group_by(invites.c.secret_hash)
        .order_by(func.min(invites.c.id))
    )
    return [Invite(*row) for row in connection.execute(query)]


def cancel_invite(connection: Connection, name: str) -> bool:
    """Cancel a link; return whether it existed. Waits for a connection by the link that is under way."""
    return connection.execute(delete(invites).where(invites.c.secret_hash == name)).rowcount > 0


def cancel_all_invites(connection: Connection) -> int:
    """Cancel all links, also for those who have connected by them; return how many places they had."""
    return connection.execute(delete(invites)).rowcount


def cancel_invites_of_other_tokens(connection: Connection, proof: str) -> int:
    """Cancel all links that were made under another operator's token; return how many places they had."""
    return connection.execute(delete(invites).where(invites.c.proof != proof)).rowcount


def delete_ended_invites(connection: Connection) -> int:
    """Delete the places of links that have ended, except places in use at this moment; return how many."""
    ended = select(invites.c.id).where(invites.c.expires_at < database_time()).with_for_update(skip_locked=True)
    return connection.execute(delete(invites).where(invites.c.id.in_(ended))).rowcount


@contextmanager
def reserve_place(engine: Engine, name: str, proof: str, place: int | None) -> Iterator[InvitePlace | None]:
    """Lock a place for one connection and yield it; ``None`` if none is free.

    A browser that has used a place before (``place``) gets that place again. An attempt is counted unless the block
    raises an error, so raise the error of a failed attempt after the block. A block that ends without
    :meth:`InvitePlace.use_up` leaves the place as it was.
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
        invites.c.expires_at > database_time(),
    )


def _open(name: str, proof: str, place: int | None) -> tuple[ColumnElement[bool], ...]:
    has_left = exists().where(users.c.athlete_id == invites.c.athlete_id, users.c.state == GrantState.REVOKED)
    is_own = and_(invites.c.id == place, ~has_left)
    return (*_good(name, proof), invites.c.attempts < MOST_ATTEMPTS, or_(invites.c.used_at.is_(None), is_own))
