"""Sessions of browsers that are logged in as the operator, and links that log in once.

Each is a row: a cookie without its row is void. Only hashes are stored, so a reader of the table cannot log in. A row
is bound to the operator's token and the access settings (``proof``), so that changing one of them ends all sessions.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from strava_pipeline.warehouse.schema.access_tables import operator_sessions
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.states import SignIn

SECRET_BYTES = 32
SESSION_LIFETIME = timedelta(hours=12)
LINK_LIFETIME = timedelta(minutes=30)


def open_session(connection: Connection, proof: str) -> str:
    """Open a session and return the secret for the browser. Sessions that have ended are deleted."""
    connection.execute(delete(operator_sessions).where(operator_sessions.c.expires_at < database_time()))
    return _add(connection, SignIn.SESSION, proof, SESSION_LIFETIME)


def is_open(connection: Connection, secret: str, proof: str) -> bool:
    """Whether there is a session with this secret and ``proof`` that has not ended."""
    found = connection.execute(select(operator_sessions.c.kind).where(*_good(secret, SignIn.SESSION, proof)))
    return found.first() is not None


def end_session(connection: Connection, secret: str) -> None:
    """End a session, at once for every process."""
    connection.execute(delete(operator_sessions).where(operator_sessions.c.secret_hash == _hash(secret)))


def end_all_sessions(connection: Connection) -> int:
    """End every session and every unused link; return how many there were."""
    return connection.execute(delete(operator_sessions)).rowcount


def end_sessions_of_others(connection: Connection, proof: str) -> int:
    """End sessions and links that were made under another token or other settings; return how many."""
    return connection.execute(delete(operator_sessions).where(operator_sessions.c.proof != proof)).rowcount


def new_sign_in_link(connection: Connection, proof: str) -> str:
    """Store a link that logs in once, within half an hour, and return its secret part."""
    return _add(connection, SignIn.LINK, proof, LINK_LIFETIME)


def is_link_good(connection: Connection, secret: str, proof: str) -> bool:
    """Whether a link can still be used; asking does not use it up."""
    found = connection.execute(select(operator_sessions.c.kind).where(*_good(secret, SignIn.LINK, proof)))
    return found.first() is not None


def redeem_sign_in_link(connection: Connection, secret: str, proof: str) -> bool:
    """Use up a link; return whether it was still good."""
    return connection.execute(delete(operator_sessions).where(*_good(secret, SignIn.LINK, proof))).rowcount == 1


def _add(connection: Connection, kind: SignIn, proof: str, lifetime: timedelta) -> str:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    connection.execute(
        insert(operator_sessions).values(
            secret_hash=_hash(secret), kind=kind, proof=proof, expires_at=database_time() + lifetime
        )
    )
    return secret


def _good(secret: str, kind: SignIn, proof: str) -> tuple[ColumnElement[bool], ...]:
    return (
        operator_sessions.c.secret_hash == _hash(secret),
        operator_sessions.c.kind == kind,
        operator_sessions.c.proof == proof,
        operator_sessions.c.expires_at > database_time(),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
