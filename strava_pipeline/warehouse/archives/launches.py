"""Which archive imports a run in Dagster is launched for: those that wait, and those whose process has died.

``alive_at`` of an import that waits is when a run was last launched for it. Its options count the launches, until a run
begins it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from strava_pipeline.errors import AlreadyImported, ArchiveImportRunning
from strava_pipeline.warehouse.archives.imports import LEASE, ArchiveImport, fail_import, list_imports, load_import
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.states import ArchiveState

# A run that died within this time is launched again; what kills one run after the other must not do so for ever.
GOES_ON_FOR: Final = timedelta(hours=6)
# What was uploaded is deleted after this time.
WAITS_FOR: Final = timedelta(days=7)
# So many runs may end before they begin.
MOST_LAUNCHES: Final = 12
LAUNCHES: Final = "launches"
DIED: Final = "its process ended; hand in the same again, and it goes on"
_c = archive_imports.c


@dataclass(frozen=True)
class ToLaunch:
    """An archive import that a run is to be launched for; ``launches``: how many were launched for it before."""

    import_id: int
    athlete_id: int
    launches: int


def claim_to_launch(connection: Connection) -> ToLaunch | None:
    """Take the archive import that waits longest, so that nobody else launches a run for it; ``None`` if none does.

    One at a time of each athlete. It is to be launched again if no run has begun it after a quarter of an hour or so.
    """
    is_dead = and_(_c.state == ArchiveState.RUNNING, _is_silent())
    waits = and_(_c.state == ArchiveState.WAITING, _is_silent())
    other = archive_imports.alias("other")
    is_busy = exists().where(
        other.c.athlete_id == _c.athlete_id,
        other.c.id != _c.id,
        other.c.state.in_((ArchiveState.RUNNING, ArchiveState.WAITING)),
        other.c.alive_at > database_time() - LEASE,
        other.c.alive_at <= database_time() + LEASE,
    )
    query = select(_c.id, _c.athlete_id, _c.options).where(or_(waits, is_dead), _c.place.is_not(None), ~is_busy)
    row = connection.execute(query.order_by(_c.begun_at, _c.id).limit(1).with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    launches = int(row.options.get(LAUNCHES, 0))
    # Of two bridges, the second one finds it launched: it waits no longer. One that died waits again.
    values: dict[str, Any] = {
        "state": ArchiveState.WAITING,
        "alive_at": database_time(),
        "options": dict(row.options) | {LAUNCHES: launches + 1},
    }
    connection.execute(update(archive_imports).where(_c.id == row.id).values(values))
    return ToLaunch(row.id, row.athlete_id, launches)


def release(connection: Connection, launch: ToLaunch) -> None:
    """Give an import back for which no run could be launched: it is due at once, and the launch does not count."""
    found = load_import(connection, launch.import_id)
    if found.state is ArchiveState.WAITING:
        options = dict(found.options) | {LAUNCHES: launch.launches}
        values: dict[str, Any] = {"alive_at": None, "options": options}
        connection.execute(update(archive_imports).where(_c.id == found.id).values(values))


def give_up_stuck(connection: Connection) -> list[ArchiveImport]:
    """Note that archive imports failed which nobody works on, and nobody will; return them.

    Those that died and no run can go on with, or none did within six hours; and those that waited for a week.
    """
    moment = database_time()
    has_died = and_(
        _c.state == ArchiveState.RUNNING,
        _is_silent(),
        or_(_c.place.is_(None), _c.begun_at < moment - GOES_ON_FOR),
    )
    waited = and_(_c.state == ArchiveState.WAITING, _c.begun_at < moment - WAITS_FOR)
    rows = connection.execute(
        select(_c.id, _c.state).where(or_(has_died, waited)).order_by(_c.id).with_for_update(skip_locked=True)
    ).all()
    for import_id, state in rows:
        why = (
            DIED if state == ArchiveState.RUNNING else f"no run began it within {WAITS_FOR.days} days: hand it in again"
        )
        fail_import(connection, import_id, why)
    return [load_import(connection, import_id) for import_id, _ in rows]


def try_again(connection: Connection, import_id: int) -> bool:
    """Let an archive import wait that failed, and whose file is still there; return whether there is such a one."""
    failed = update(archive_imports).where(_c.id == import_id, _c.state == ArchiveState.FAILED, _c.place.is_not(None))
    values: dict[str, Any] = {
        "state": ArchiveState.WAITING,
        "alive_at": None,
        "begun_at": database_time(),
        "ended_at": None,
        "failure": None,
    }
    return connection.execute(failed.values(values)).rowcount > 0


def note_content(connection: Connection, import_id: int, content_hash: str) -> None:
    """Note what an archive import that waits holds, once its file was read: before, its hash may be another's.

    ``AlreadyImported`` if another import of the same content is done, ``ArchiveImportRunning`` if one is at work.
    """
    found = load_import(connection, import_id)
    others = (
        each
        for each in list_imports(connection, found.athlete_id)
        if each.id != import_id and each.content_hash == content_hash
    )
    for each in others:
        if each.is_whole:
            told = f"{found.name} was imported before, by archive import {each.id}: nothing was changed"
            raise AlreadyImported(told, each.id)
        if each.state is ArchiveState.RUNNING:
            told = f"archive import {each.id} of the same file is at work: try again once it has ended"
            raise ArchiveImportRunning(told, each.id)
    changing = update(archive_imports).where(_c.id == import_id, _c.state != ArchiveState.RUNNING)
    connection.execute(changing.values(content_hash=content_hash))


def fail_waiting(connection: Connection, import_id: int, why: str) -> None:
    """Note that an archive import failed, if there is such a one, and it waits."""
    query = select(_c.state).where(_c.id == import_id).with_for_update()
    if connection.execute(query).scalar() == ArchiveState.WAITING:
        fail_import(connection, import_id, why)


def count_waiting(connection: Connection) -> int:
    """Return how many archive imports wait for a run."""
    query = select(func.count()).where(_c.state == ArchiveState.WAITING)
    return int(connection.execute(query).scalar_one())


def _is_silent() -> ColumnElement[bool]:
    """Nobody has given a sign of life for as long as one that lives gives none at most."""
    return or_(_c.alive_at.is_(None), has_come(_c.alive_at + LEASE, database_time(), LEASE))
