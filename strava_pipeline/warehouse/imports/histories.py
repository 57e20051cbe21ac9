"""Notes how far back an athlete's history goes, and when history and profile were last asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date, datetime

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import is_not_newer
from strava_pipeline.warehouse.schema.wish_tables import histories


@dataclass(frozen=True)
class History:
    """When a whole history was last listed and a profile last fetched (UTC), and the month in which it begins.

    ``listed_from``: the month from which on it was listed, and is kept since; ``None``: the earliest one.
    """

    listed_at: datetime | None = None
    listed_from: date | None = None
    begins_on: date | None = None
    profile_at: datetime | None = None

    def as_of(self, moment: datetime) -> History:
        """Return what is known at a moment (UTC): what was noted ahead of it is from before the clock was set back."""

        def by_then(noted: datetime | None) -> datetime | None:
            return None if noted is None or noted > moment else noted

        return replace(self, listed_at=by_then(self.listed_at), profile_at=by_then(self.profile_at))

    def tells(self, month: date, since: datetime) -> bool:
        """Whether a listing of the whole history, asked for ``since`` then (UTC), had this month."""
        is_listed = self.listed_at is not None and self.listed_at >= since
        return is_listed and (self.listed_from is None or self.listed_from <= month)


def history_of(connection: Connection, athlete_id: int) -> History:
    """Return what is known of an athlete's history."""
    query = select(*(histories.c[field.name] for field in fields(History)))
    found = connection.execute(query.where(histories.c.athlete_id == athlete_id)).first()
    return History() if found is None else History(*found)


def note_history(
    connection: Connection, athlete_id: int, begins_on: date | None, asked_at: datetime, listed_from: date | None = None
) -> None:
    """Note that a listing, asked for at ``asked_at`` (UTC), told the whole history; without ``begins_on`` it is empty.

    ``listed_from``: the first day of its first month. ``NeedsReauthorization`` if the athlete has disconnected.
    """
    _note(connection, athlete_id, "listed_at", asked_at, begins_on=begins_on, listed_from=listed_from)


def note_removed(connection: Connection, first_kept: date) -> None:
    """Note that nothing is kept from before this month (its first day): were it kept again, it would have to be listed.

    Months that are kept in part count as kept.
    """
    is_earlier = func.coalesce(histories.c.listed_from < first_kept, True)
    connection.execute(
        update(histories).where(histories.c.listed_at.is_not(None), is_earlier).values(listed_from=first_kept)
    )


def note_profile(connection: Connection, athlete_id: int, asked_at: datetime) -> None:
    """Note that the profile, asked for at ``asked_at`` (UTC), is stored. ``NeedsReauthorization`` as before."""
    _note(connection, athlete_id, "profile_at", asked_at)


def _note(connection: Connection, athlete_id: int, column: str, asked_at: datetime, **more: object) -> None:
    refuse_rows_of_revoked(connection, [athlete_id])
    noting = insert(histories).values(athlete_id=athlete_id, **{column: asked_at}, **more)
    changes = {name: noting.excluded[name] for name in (column, *more)}
    # An older answer that comes late changes nothing.
    is_newer = or_(histories.c[column].is_(None), is_not_newer(histories.c[column], asked_at))
    connection.execute(noting.on_conflict_do_update(index_elements=["athlete_id"], set_=changes, where=is_newer))
