"""Archive imports: what was handed in for whom, and how far the work on it is.

Of an athlete's archive imports one is at work; the others wait. Whoever works on one gives signs of life; without any
for ``LEASE`` its process has died, and the next one takes it up. On the same machine it does so at once: while an
import is at work, its options name the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSON, JSONB

from strava_pipeline.errors import AlreadyImported, ArchiveImportRunning, UnknownArchiveImport
from strava_pipeline.process_identity import is_gone, this_process
from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.local_times import check_zone, settle_local_times, zone_of
from strava_pipeline.warehouse.athletes.told_profiles import FILLED
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.locks import AthleteLock, acquire_for_athlete
from strava_pipeline.warehouse.mail.history import tell_history
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, CameBy

LEASE = timedelta(minutes=3)
PROCESS: Final = "process"
# So often is a recording tried that took too long, or whose reader was ended: options count the tries before.
MOST_TRIES: Final = 3
TRIES: Final = "tries"
_c = archive_imports.c


@dataclass(frozen=True, kw_only=True)
class ArchiveImport:
    """One archive, or one lot of files, that was handed in. Times are UTC; ``None``: not yet, or not told.

    ``taken_at``: until when it tells. ``place``: from where a run reads it. ``options``: what it was asked to take for
    granted, such as ``timezone``. ``report``: what was read, merged, skipped and damaged. ``process``: the one at work
    on it, as :func:`.this_process` names it.
    """

    id: int
    athlete_id: int
    kind: ArchiveKind
    name: str
    content_hash: str
    taken_at: datetime
    came_by: CameBy
    place: str | None
    options: Mapping[str, Any]
    gear: Mapping[str, Any] | None
    state: ArchiveState
    report: Mapping[str, Any] | None
    failure: str | None
    begun_at: datetime
    ended_at: datetime | None
    alive_at: datetime | None
    process: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is done, and no recording of it is to be tried again."""
        return self.state is ArchiveState.DONE and not (self.report or {}).get("postponed")

    @property
    def is_last_try(self) -> bool:
        """Whether a recording that is not read now is not tried again."""
        return int(self.options.get(TRIES, 0)) + 1 >= MOST_TRIES


def begin_import(  # noqa: PLR0913  each is a column of the import's row
    connection: Connection,
    *,
    athlete_id: int,
    kind: ArchiveKind,
    name: str,
    content_hash: str,
    taken_at: datetime,
    came_by: CameBy,
    place: str | None = None,
    options: Mapping[str, Any] | None = None,
    waiting: bool = False,
) -> ArchiveImport:
    """Begin an archive import, or note that it waits; one of the same content that waits, failed or died is taken up.

    ``taken_at`` (UTC) beyond the present is taken for now. ``AlreadyImported`` if the same content is done, and no
    recording of it is to be tried again, ``ArchiveImportRunning`` if it, or (unless ``waiting``) another one, is at
    work, ``NeedsReauthorization`` if the athlete has disconnected, ``ConfigurationError`` for an option ``timezone``
    that is none.
    """
    if options and options.get("timezone"):
        check_zone(connection, options["timezone"])
    refuse_rows_of_revoked(connection, [athlete_id])
    if (options or {}).get("timezone") or zone_of(connection, athlete_id) is not None:
        # Local times may change with the zone; the lock for that comes before the one of imports.
        lock_activities(connection, athlete_id)
    # Of two processes that begin at once, the second one sees what the first one began.
    acquire_for_athlete(connection, AthleteLock.IMPORTS, athlete_id)
    moment, zone = now(connection), zone_of(connection, athlete_id)
    same = _same_content(connection, athlete_id, content_hash)
    if same is not None and same.is_whole:
        raise AlreadyImported(
            f"{name} of athlete {athlete_id} was imported before, by archive import {same.id}: nothing was changed",
            same.id,
        )
    if same is not None and _is_at_work(same, moment):
        raise _running(same)
    if not waiting:
        _end_dead(connection, athlete_id, same, moment)
    values = {
        "name": name,
        "taken_at": min(taken_at, moment),
        "came_by": came_by,
        "place": place,
        "options": dict(options or {}) | _carried(same) | ({} if waiting else {PROCESS: this_process()}),
        "state": ArchiveState.WAITING if waiting else ArchiveState.RUNNING,
        "alive_at": None if waiting else moment,
        "ended_at": None,
        "report": None,
        "failure": None,
    }
    if same is not None and same.state is not ArchiveState.UNDONE:
        if same.state is ArchiveState.FAILED:
            # It begins anew, with all the time that a new one has.
            values["begun_at"] = moment
        changing = update(archive_imports).where(_c.id == same.id).values(**values)
        begun = _found(connection.execute(changing.returning(archive_imports)).one())
    else:
        new = values | {"athlete_id": athlete_id, "kind": kind, "content_hash": content_hash, "begun_at": moment}
        begun = _found(connection.execute(insert(archive_imports).values(**new).returning(archive_imports)).one())
    if zone_of(connection, athlete_id) != zone:
        # What was stored before may be of the new zone as well, and this import's merges look at their own alone.
        lock_activities(connection, athlete_id)
        settle_local_times(connection, athlete_id)
    return begun


def take_up(connection: Connection, import_id: int, *, note: str) -> ArchiveImport:
    """Let an import count as at work again, with a ``note`` why; as :func:`begin_import` does, it may be refused.

    Returns it as it was before; one that was undone stays so.
    """
    athlete_id = load_import(connection, import_id).athlete_id
    refuse_rows_of_revoked(connection, [athlete_id])
    acquire_for_athlete(connection, AthleteLock.IMPORTS, athlete_id)
    found, moment = load_import(connection, import_id), now(connection)
    if found.state is ArchiveState.UNDONE:
        return found
    if _is_at_work(found, moment) and found.failure != note:
        raise _running(found)
    _end_dead(connection, athlete_id, found, moment)
    # Without a place no run is launched for it, should this process die.
    values = {"state": ArchiveState.RUNNING, "failure": note, "alive_at": moment, "ended_at": None, "place": None}
    # What the profile has of it may have changed since it was looked at.
    options = cast(cast(_c.options, JSONB).op("||")(cast({PROCESS: this_process()}, JSONB)), JSON)
    connection.execute(update(archive_imports).where(_c.id == import_id).values(**values, options=options))
    return found


def load_import(connection: Connection, import_id: int) -> ArchiveImport:
    """Return an archive import; ``UnknownArchiveImport`` if there is none of this number."""
    row = connection.execute(select(archive_imports).where(_c.id == import_id)).first()
    if row is None:
        raise UnknownArchiveImport(f"there is no archive import {import_id}: archive list shows those there are")
    return _found(row)


def list_imports(connection: Connection, athlete_id: int | None = None) -> list[ArchiveImport]:
    """Return all archive imports, or those of one athlete, the newest first."""
    query = select(archive_imports).order_by(_c.begun_at.desc(), _c.id.desc())
    if athlete_id is not None:
        query = query.where(_c.athlete_id == athlete_id)
    return [_found(row) for row in connection.execute(query)]


def beat(connection: Connection, import_id: int, *, note: str | None = None) -> None:
    """Give a sign of life of an import that is at work; ``note``: that of :func:`take_up`.

    Whoever writes for the import does so first in its transaction. ``ArchiveImportRunning`` if it is not at work any
    more, or at other work: another process ended it, or took it up after a long silence.
    """
    process = _c.options[PROCESS].astext
    is_ours = (
        _c.id == import_id,
        _c.state == ArchiveState.RUNNING,
        _c.failure.is_not_distinct_from(note),
        or_(process.is_(None), process == this_process()),
    )
    if not connection.execute(update(archive_imports).where(*is_ours).values(alive_at=database_time())).rowcount:
        state = load_import(connection, import_id).state
        told = "taken up by another process" if state is ArchiveState.RUNNING else state
        raise ArchiveImportRunning(f"archive import {import_id} is {told}: this process ends its work", import_id)


def end_import(connection: Connection, import_id: int, report: Mapping[str, Any]) -> None:
    """Note that an import is done, with its quality report; the athlete of an archive is told by one mail."""
    _end(connection, import_id, state=ArchiveState.DONE, report=dict(report), failure=None, place=None)
    tell_history(connection, import_id)


def fail_import(connection: Connection, import_id: int, why: str) -> None:
    """Note that an import failed. What it has stored stays, until it is tried again or undone."""
    _end(connection, import_id, state=ArchiveState.FAILED, failure=why)


def has_handed_in(connection: Connection, athlete_id: int) -> bool:
    """Whether anything was ever handed in for an athlete."""
    return connection.execute(select(_c.id).where(_c.athlete_id == athlete_id).limit(1)).first() is not None


def options_at_rest() -> ColumnElement[Any]:
    """The options of an import that nobody is at work on: they name no process."""
    return cast(cast(_c.options, JSONB).op("-")(cast(literal(PROCESS), Text)), JSON)


def has_archive_by_command(connection: Connection) -> bool:
    """Whether somebody at the machine, or a run by a path, has imported an archive of Strava's, and it stands."""
    query = select(_c.id).where(
        _c.kind == ArchiveKind.ARCHIVE, _c.came_by == CameBy.COMMAND, _c.state == ArchiveState.DONE
    )
    return connection.execute(query.limit(1)).first() is not None


def _end(connection: Connection, import_id: int, **values: Any) -> None:
    changes = values | {"ended_at": database_time(), "alive_at": None, "options": options_at_rest()}
    connection.execute(update(archive_imports).where(_c.id == import_id).values(**changes))


def _carried(same: ArchiveImport | None) -> dict[str, Any]:
    """What an import that goes on, or comes again, has of its options from before."""
    if same is None:
        return {}
    # What it filled in the profile so far is not the API's. One that was undone begins anew.
    names = (FILLED,) if same.state is ArchiveState.UNDONE else (FILLED, TRIES)
    carried = {name: same.options[name] for name in names if name in same.options}
    if same.state is ArchiveState.DONE:
        carried[TRIES] = int(same.options.get(TRIES, 0)) + 1
    return carried


def _same_content(connection: Connection, athlete_id: int, content_hash: str) -> ArchiveImport | None:
    """The newest import of the same content that was not undone, else the newest that was."""
    query = select(archive_imports).where(_c.athlete_id == athlete_id, _c.content_hash == content_hash)
    row = connection.execute(query.order_by(_c.state == ArchiveState.UNDONE, _c.id.desc()).limit(1)).first()
    return None if row is None else _found(row)


def _end_dead(connection: Connection, athlete_id: int, same: ArchiveImport | None, moment: datetime) -> None:
    """Make room: refuse if another import is at work, and note that one failed whose process has died."""
    query = select(archive_imports).where(_c.athlete_id == athlete_id, _c.state == ArchiveState.RUNNING)
    for row in connection.execute(query):
        found = _found(row)
        if same is not None and found.id == same.id:
            continue
        if _is_at_work(found, moment):
            raise _running(found)
        fail_import(connection, found.id, "its process ended; import the same again, and it goes on")


def _is_at_work(found: ArchiveImport, moment: datetime) -> bool:
    if found.state is not ArchiveState.RUNNING or (found.process is not None and is_gone(found.process)):
        return False
    # A sign of life from ahead was given before the database's clock was set back.
    return found.alive_at is not None and moment - LEASE < found.alive_at <= moment + LEASE


def _running(found: ArchiveImport) -> ArchiveImportRunning:
    return ArchiveImportRunning(
        f"archive import {found.id} ({found.name}) of athlete {found.athlete_id} is at work: try again once it has"
        " ended",
        found.id,
    )


def _found(row: Row[Any]) -> ArchiveImport:
    values = row._asdict()
    options = dict(row.options)
    process = options.pop(PROCESS, None)
    enums = {
        "kind": ArchiveKind(row.kind),
        "came_by": CameBy(row.came_by),
        "state": ArchiveState(row.state),
    }
    return ArchiveImport(**(values | enums | {"options": options, "process": process}))
