"""Decides whether a listing may delete what it lacks.

A listing that lacks most of what is stored, or of an athlete who shows less than before, deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.months import Span
from strava_pipeline.strava.oauth import ACTIVITY_SCOPES, ALL_ACTIVITIES
from strava_pipeline.warehouse.activities.activity_store import count_missing
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.wish_tables import histories


def why_not_delete(connection: Connection, span: Span, listed: Collection[int], asked_at: datetime) -> str | None:
    """Return why a listing of a span may delete nothing; ``None`` if it may, or lacks nothing.

    ``listed``: all ids that Strava listed; ``asked_at``: when it was asked (UTC).
    """
    missing = count_missing(connection, span, listed, asked_at)
    if missing.unlisted and shows_less(connection, span.athlete_id):
        return (
            f"Strava lists only {missing.told} stored activities, and the athlete shows fewer than before:"
            " nothing was deleted"
        )
    return f"Strava lists only {missing.told} stored activities: nothing was deleted" if missing.are_many else None


def shows_less(connection: Connection, athlete_id: int) -> bool:
    """Whether the athlete's grant shows fewer activities than that under which they were last compared."""
    query = (
        select(histories.c.scopes, users.c.scopes)
        .join(users, users.c.athlete_id == histories.c.athlete_id)
        .where(histories.c.athlete_id == athlete_id)
    )
    row = connection.execute(query).first()
    return row is not None and _shown(row[1]) < _shown(row[0] or ())


def note_compared(connection: Connection, athlete_id: int, held: str | None) -> None:
    """Note with which permissions an athlete's activities were compared with a listing.

    ``held``: why nothing was deleted; ``None`` if nothing was held back. While the athlete shows less than before, the
    permissions of then are kept, so that nothing is deleted the next time either. ``NeedsReauthorization`` if the
    athlete has disconnected.
    """
    _note(connection, athlete_id, {"held": held})


def note_listed_with(connection: Connection, athlete_id: int) -> None:
    """Note with which permissions some months were listed, as :func:`note_compared` does for a whole comparison."""
    _note(connection, athlete_id, {})


def accept_what_is_shown(connection: Connection, athlete_id: int) -> None:
    """Note that a person accepted a listing as it was: what the athlete shows now is what counts from here on."""
    _note(connection, athlete_id, {"held": None}, accepts_less=True)


def _note(connection: Connection, athlete_id: int, values: dict[str, object], *, accepts_less: bool = False) -> None:
    refuse_rows_of_revoked(connection, [athlete_id])
    if accepts_less or not shows_less(connection, athlete_id):
        granted = select(users.c.scopes).where(users.c.athlete_id == athlete_id)
        scopes = connection.execute(granted).scalar()
        values = values if scopes is None else values | {"scopes": scopes}
    if not values:
        return
    noting = insert(histories).values(athlete_id=athlete_id, **values)
    connection.execute(noting.on_conflict_do_update(index_elements=["athlete_id"], set_=values))


def held_back(connection: Connection) -> dict[int, str]:
    """Return by athlete why the last comparison deleted nothing, where it was held back."""
    query = select(histories.c.athlete_id, histories.c.held).where(histories.c.held.is_not(None))
    return {row.athlete_id: row.held for row in connection.execute(query)}


def _shown(scopes: Collection[str]) -> int:
    """How much of the activities a grant shows: 0: none, 1: those that others see, 2: all."""
    return 2 if ALL_ACTIVITIES in scopes else 1 if ACTIVITY_SCOPES & set(scopes) else 0
