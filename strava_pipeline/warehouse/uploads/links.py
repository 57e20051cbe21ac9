"""Links by which one athlete may upload files of theirs for a week, and do nothing else.

A link is good while its row is here. The operator can cancel it; it goes when the athlete is disconnected or erased.
Only hashes are stored, so a reader of the table cannot upload anything.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select

from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.upload_tables import upload_links

SECRET_BYTES = 32
LIFETIME = timedelta(days=7)
_c = upload_links.c


@dataclass(frozen=True)
class UploadLink:
    """A link that has not ended (times in UTC). ``id`` is no secret."""

    id: int
    athlete_id: int
    made_at: datetime
    expires_at: datetime


def new_link(connection: Connection, athlete_id: int, proof: str) -> str:
    """Store a link for an athlete, under the operator's token; return its secret part."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    row = {"athlete_id": athlete_id, "secret_hash": _hash(secret), "proof": proof}
    connection.execute(insert(upload_links).values(row | {"expires_at": database_time() + LIFETIME}))
    return secret


def find_link(connection: Connection, secret: str, proof: str) -> UploadLink | None:
    """Return the link with this secret part; ``None`` if there is none, or it has ended."""
    return _first(connection, _living(proof).where(_c.secret_hash == _hash(secret)))


def living_link(connection: Connection, link_id: int, proof: str) -> UploadLink | None:
    """Return a link; ``None`` if there is none, or it has ended."""
    return _first(connection, _living(proof).where(_c.id == link_id))


def links_of(connection: Connection, athlete_id: int, proof: str) -> list[UploadLink]:
    """Return an athlete's links that have not ended, oldest first."""
    theirs = _living(proof).where(_c.athlete_id == athlete_id).order_by(_c.id)
    return [UploadLink(*row) for row in connection.execute(theirs)]


def cancel_link(connection: Connection, athlete_id: int, link_id: int) -> bool:
    """Cancel one of an athlete's links; return whether it was there."""
    return _delete(connection, _c.id == link_id, _c.athlete_id == athlete_id) > 0


def end_links(connection: Connection, athlete_id: int) -> int:
    """Cancel all links of an athlete; return how many."""
    return _delete(connection, _c.athlete_id == athlete_id)


def cancel_links_of_other_tokens(connection: Connection, proof: str) -> int:
    """Cancel all links that were made under another operator's token; return how many."""
    return _delete(connection, _c.proof != proof)


def _living(proof: str) -> Select[Any]:
    found = select(_c.id, _c.athlete_id, _c.made_at, _c.expires_at)
    return found.where(_c.proof == proof, _c.expires_at > database_time())


def _first(connection: Connection, query: Select[Any]) -> UploadLink | None:
    row = connection.execute(query).first()
    return None if row is None else UploadLink(*row)


def _delete(connection: Connection, *which: ColumnElement[bool]) -> int:
    return connection.execute(delete(upload_links).where(*which)).rowcount


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
