"""Lets go of athletes whom only an archive import had made, once it has failed or was undone."""

from __future__ import annotations

from sqlalchemy import Connection, delete, literal, select, union_all

from strava_pipeline.warehouse.athletes.owned_tables import owned_tables
from strava_pipeline.warehouse.locks import delete_locks
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline.warehouse.states import ArchiveState, DagsterTask, GrantState

# What an athlete of whom nothing is known may leave behind: what was handed in, and marks of months.
_LEFT = (archive_files, archive_imports, changed_months, month_checks, import_months)


def let_go_of_unknown(connection: Connection, athlete_id: int) -> bool:
    """Delete an athlete of whom nothing is known but archive imports that failed or were undone; return whether it was.

    Whoever connected, or has an address, a link or an upload, stays, and so does one of whom Dagster was told.
    """
    is_new = (users.c.state == GrantState.ARCHIVE_ONLY, users.c.dagster_task == DagsterTask.REGISTER)
    unknown = select(users.c.athlete_id).where(users.c.athlete_id == athlete_id, users.c.email.is_(None), *is_new)
    if connection.execute(unknown.with_for_update()).first() is None or _is_known(connection, athlete_id):
        return False
    for left in _LEFT:
        connection.execute(delete(left).where(left.c.athlete_id == athlete_id))
    connection.execute(delete(athletes).where(athletes.c.id == athlete_id))
    connection.execute(delete(users).where(users.c.athlete_id == athlete_id))
    delete_locks(connection, athlete_id)
    return True


def _is_known(connection: Connection, athlete_id: int) -> bool:
    one = select(literal(1))
    ended = archive_imports.c.state.in_((ArchiveState.FAILED, ArchiveState.UNDONE))
    known = [
        one.where(activities.c.athlete_id == athlete_id),
        one.where(archive_imports.c.athlete_id == athlete_id, ~ended),
        one.where(archive_files.c.athlete_id == athlete_id, archive_files.c.fault.is_(None)),
        # A month's file in the lake goes by the ordinary way.
        one.where(import_months.c.athlete_id == athlete_id, import_months.c.lake_at.is_not(None)),
    ]
    left = {each.fullname for each in _LEFT}
    known += [
        one.select_from(each.target).where(each.of_athlete(athlete_id))
        for each in owned_tables(connection)
        if each.names_athlete and each.target.fullname not in left
    ]
    return connection.execute(union_all(*known).limit(1)).first() is not None
