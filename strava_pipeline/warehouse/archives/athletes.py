"""Makes room for an athlete of whom something is handed in, with or without a grant at Strava."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.files.archive.side_tables import Preferences, Profile
from strava_pipeline.warehouse.athletes.told_profiles import NEVER_ASKED, lock_profile
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import DagsterTask, GrantState


def ensure_athlete(connection: Connection, athlete_id: int) -> None:
    """Make sure that an athlete has a row: state ``archive_only`` and a partition in Dagster, if there was none.

    ``NeedsReauthorization`` if the athlete has disconnected.
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
    # Whoever has let go of the athlete just now was waited for.
    connection.execute(new.on_conflict_do_nothing())
    storing = insert(athletes).values(id=athlete_id, fetched_at=NEVER_ASKED)
    connection.execute(storing.on_conflict_do_nothing())
    lock_profile(connection, athlete_id)


def told_of_athlete(profile: Profile | None, preferences: Preferences | None) -> dict[str, Any]:
    """Return what an archive tells of its athlete, without what it does not tell, by columns of ``athletes``.

    The highest heart rate (bpm) has no column there: it is only kept.
    """
    found: dict[str, Any] = {}
    if profile is not None:
        names = ("firstname", "lastname", "bio", "sex", "city", "state", "country")
        found |= {name: getattr(profile, name) for name in names} | {"weight": profile.weight_kg}
    if preferences is not None:
        found |= {"measurement_preference": preferences.measurement_preference, "ftp": preferences.ftp_w}
        found["weight"] = preferences.weight_kg or found.get("weight")
        found["max_heartrate"] = preferences.max_heartrate_bpm
    return {name: value for name, value in found.items() if value is not None}
