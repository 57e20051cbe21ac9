"""Browsers that are logged in as the operator. A session is a row here: without the row a cookie is worth nothing.

Only hashes are stored: who reads the table is logged in nowhere. A row is bound to the operator's token and to the
settings of the door (``proof``), so that changing one of them ends all sessions.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from strava_pipeline.warehouse.schema.ops_tables import operator_sessions
from strava_pipeline.warehouse.states import SignIn

SECRET_BYTES = 32
SESSION_LIFETIME = timedelta(hours=12)
LINK_LIFETIME = timedelta(minutes=30)


def open_session(connection: Connection, proof: str) -> str:
    """Open a session; returns the secret that the browser holds. Sessions that have ended are cleared away."""
    connection.execute(delete(operator_sessions).where(operator_sessions.c.expires_at < func.clock_timestamp()))
    return _add(connection, SignIn.SESSION, proof, SESSION_LIFETIME)


def is_open(connection: Connection, secret: str, proof: str) -> bool:
    """Whether a session was opened with this secret under the same token and settings, and has not ended."""
    found = connection.execute(select(operator_sessions.c.kind).where(*_good(secret, SignIn.SESSION, proof)))
    return found.first() is not None


def end_session(connection: Connection, secret: str) -> None:
    """End a session, for every process and at once."""
    connection.execute(delete(operator_sessions).where(operator_sessions.c.secret_hash == _hash(secret)))


def end_all_sessions(connection: Connection) -> int:
    """End every session and every link that was not used yet; returns how many there were."""
    return connection.execute(delete(operator_sessions)).rowcount


def end_sessions_of_others(connection: Connection, proof: str) -> int:
    """End what was opened under another token or other settings; returns how many ended."""
    return connection.execute(delete(operator_sessions).where(operator_sessions.c.proof != proof)).rowcount


def new_sign_in_link(connection: Connection, proof: str) -> str:
    """The secret part of a link that logs in once, within half an hour."""
    return _add(connection, SignIn.LINK, proof, LINK_LIFETIME)


def is_link_good(connection: Connection, secret: str, proof: str) -> bool:
    """Whether a link can still be used; a look does not use it up."""
    found = connection.execute(select(operator_sessions.c.kind).where(*_good(secret, SignIn.LINK, proof)))
    return found.first() is not None


def redeem_sign_in_link(connection: Connection, secret: str, proof: str) -> bool:
    """Use a link up; whether it was still good."""
    return connection.execute(delete(operator_sessions).where(*_good(secret, SignIn.LINK, proof))).rowcount == 1


def _add(connection: Connection, kind: SignIn, proof: str, lifetime: timedelta) -> str:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    connection.execute(
        insert(operator_sessions).values(
            secret_hash=_hash(secret), kind=kind, proof=proof, expires_at=func.clock_timestamp() + lifetime
        )
    )
    return secret


def _good(secret: str, kind: SignIn, proof: str) -> tuple[ColumnElement[bool], ...]:
    return (
        operator_sessions.c.secret_hash == _hash(secret),
        operator_sessions.c.kind == kind,
        operator_sessions.c.proof == proof,
        operator_sessions.c.expires_at > func.clock_timestamp(),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
