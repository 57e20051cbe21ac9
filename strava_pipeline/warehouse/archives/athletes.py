"""Makes room for an athlete of whom something is handed in, with or without a grant at Strava."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, func
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.files.archive.side_tables import Preferences, Profile
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import DagsterTask, GrantState

# When Strava was asked for what an archive tells: any answer of the API is newer.
NEVER_ASKED = datetime(1970, 1, 1, tzinfo=UTC)


def ensure_athlete(
    connection: Connection, athlete_id: int, profile: Profile | None, preferences: Preferences | None
) -> None:
    """Make sure that an athlete has a row: state ``archive_only`` and a partition in Dagster, if there was none.

    ``profile`` and ``preferences`` of an archive fill what Strava's API has not told. ``NeedsReauthorization`` if the
    athlete has disconnected.
    """
    new = insert(users).values(
        athlete_id=athlete_id,
        scopes=[],
        state=GrantState.ARCHIVE_ONLY,
        generation=0,
        dagster_task=DagsterTask.REGISTER,
    )
    connection.execute(new.on_conflict_do_nothing())
    refuse_rows_of_revoked(connection, [athlete_id])
    told = _told(profile, preferences)
    storing = insert(athletes).values(id=athlete_id, fetched_at=NEVER_ASKED, **told)
    if not told:
        connection.execute(storing.on_conflict_do_nothing())
        return
    # Of what the API told, only empty fields are filled; else the later archive counts.
    changes = {
        name: case(
            (athletes.c.fetched_at == NEVER_ASKED, storing.excluded[name]),
            else_=func.coalesce(athletes.c[name], storing.excluded[name]),
        )
        for name in told
    }
    connection.execute(storing.on_conflict_do_update(index_elements=["id"], set_=changes))


def _told(profile: Profile | None, preferences: Preferences | None) -> dict[str, Any]:
    """The columns of ``athletes`` that an archive fills, without what it does not tell."""
    found: dict[str, Any] = {}
    if profile is not None:
        names = ("firstname", "lastname", "bio", "sex", "city", "state", "country")
        found |= {name: getattr(profile, name) for name in names} | {"weight": profile.weight_kg}
    if preferences is not None:
        found |= {"measurement_preference": preferences.measurement_preference, "ftp": preferences.ftp_w}
        found["weight"] = preferences.weight_kg or found.get("weight")
    return {name: value for name, value in found.items() if value is not None}
