"""Restores an export of an athlete into tables that have nothing of them.

First every file is compared with the manifest, and every row with its table. Then all rows are written in one
transaction: nobody sees the athlete before it commits, and a process that dies leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg.errors import DataError, IntegrityError
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Engine, func, insert, select, update

from strava_pipeline.errors import ConfigurationError, ErasureUnderWay, UnreadableFile
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, months_of_samples
from strava_pipeline.warehouse.athlete_export.checking import REFERENCES, Account, Found, check_export
from strava_pipeline.warehouse.athlete_export.exported_tables import (
    SEGMENTS,
    ExportedTable,
    exported_tables,
)
from strava_pipeline.warehouse.athlete_export.layout import BODY, RECORDING_BYTES, recording_file
from strava_pipeline.warehouse.athlete_export.opened_export import OpenedExport
from strava_pipeline.warehouse.athlete_export.restored_rows import Row, copied, read_rows
from strava_pipeline.warehouse.athlete_export.under_way import at_rest
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import driver_errors
from strava_pipeline.warehouse.erasure_list import Folder, read_departures
from strava_pipeline.warehouse.erasures import is_being_erased
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import DagsterTask, GrantState

# Rows keep their numbers if no more than so many numbers are skipped for that.
_MOST_SKIPPED: Final = 1_000_000
# By table, the numbers of its rows here, by those in the export.
_Numbers = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class Restored:
    """Whose ``rows`` were restored; ``had_grant``: the athlete was connected, and must connect again to go on."""

    athlete_id: int
    rows: int
    activities: int
    had_grant: bool


def refuse_departed(settings: Settings, athlete_id: int) -> None:
    """``ConfigurationError`` if the list of erasures has the athlete, or cannot be read for want of a key."""
    place = settings.erasures_location()
    if not Folder(place).is_there() or not Folder(place).entries():
        return
    departures = read_departures(Keyring.parse(settings.required("token_keys")), [place])
    if departures.last_of(athlete_id) is not None:
        raise _has_left(athlete_id)


def restore_athlete(
    engine: Engine, export: OpenedExport, *, again: bool = False, told: Callable[[str], None] = lambda _: None
) -> Restored:
    """Write all rows of an export; the athlete then is one without a grant, whom nothing asks Strava for.

    ``again``: also somebody who has left. ``UnreadableFile`` for an export that was changed, ``ConfigurationError`` if
    the athlete is here already or has left, ``ErasureUnderWay`` while the data of before are being deleted: nothing is
    written then.
    """
    athlete_id = export.manifest.athlete_id
    with engine.connect() as connection:
        tables = [table for table in exported_tables(connection) if table.has_all]
        _refuse_here(connection, athlete_id, tables, again=again)
    found = check_export(export, tables, told)
    with engine.begin() as connection, _refusals(athlete_id):
        # What takes long is one statement for each table. A client that is gone ends it all the same.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        _enter(connection, athlete_id, found.account, again=again)
        _refuse_here(connection, athlete_id, tables, again=again, entered=True)
        _refuse_others(connection, athlete_id, found)
        rows = _write(connection, export, tables, found, told)
        _forget_lake(connection, athlete_id)
        stored = connection.execute(select(func.count()).where(activities.c.athlete_id == athlete_id)).scalar_one()
        note_action(connection, Actor.COMMAND, "restore", f"athlete {athlete_id}", detail=f"{rows} rows of an export")
    return Restored(athlete_id, rows, stored, found.account.had_grant)


def _has_left(athlete_id: int) -> ConfigurationError:
    return ConfigurationError(
        f"athlete {athlete_id} has left, and their data were to stay deleted: nothing is restored; if they want to be"
        " back, add --again"
    )


def _is_here(athlete_id: int) -> ConfigurationError:
    return ConfigurationError(
        f"athlete {athlete_id} is in these tables already, and nothing is overwritten: restore into another database,"
        f" or erase what is here with strava-pipeline athletes disconnect {athlete_id}, and add --again"
    )


def _refuse_here(
    connection: Connection, athlete_id: int, tables: list[ExportedTable], *, again: bool, entered: bool = False
) -> None:
    """Refuse an athlete who is here, or whose rows are; ``entered``: by this transaction."""
    if is_being_erased(connection, athlete_id):
        raise ErasureUnderWay(f"earlier data of athlete {athlete_id} are still being deleted: try again soon")
    state = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete_id)).scalar()
    if state == GrantState.REVOKED and not again:
        raise _has_left(athlete_id)
    is_here = state not in {None, GrantState.REVOKED} and not entered
    if is_here or any(_has_rows(connection, table, athlete_id) for table in tables if table.full_name != SEGMENTS):
        raise _is_here(athlete_id)


def _has_rows(connection: Connection, table: ExportedTable, athlete_id: int) -> bool:
    query = SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(table.target, table.condition)
    with driver_errors(connection):
        found: Any = driver_of(connection).execute(query, (athlete_id,)).fetchone()
    return bool(found[0])


def _refuse_others(connection: Connection, athlete_id: int, found: Found) -> None:
    others = select(activities.c.id).where(
        any_of(activities.c.id, found.activities), activities.c.athlete_id != athlete_id
    )
    other = connection.execute(others.limit(1)).scalar()
    if other is not None:
        raise UnreadableFile(f"activity {other} of the export is another athlete's here: nothing is restored")


def _enter(connection: Connection, athlete_id: int, account: Account, *, again: bool) -> None:
    """Enter the athlete as one without a grant, and have the partition added. Two restores at once take turns."""
    state = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete_id).with_for_update()).scalar()
    values = {"state": GrantState.ARCHIVE_ONLY, "scopes": [], "dagster_task": DagsterTask.REGISTER}
    # After the departure, so that no check of a backup takes it for one that is to be repeated.
    since = database_time() if again or account.connected_at is None else account.connected_at
    if state is None:
        new = values | {"athlete_id": athlete_id, "generation": 0, "connected_at": since}
        connection.execute(insert(users).values(new))
    elif state == GrantState.REVOKED:
        back = values | {"connected_at": since, "granted_at": None, "updated_at": database_time()}
        connection.execute(update(users).where(users.c.athlete_id == athlete_id).values(back))
    else:
        raise _is_here(athlete_id)


@contextmanager
def _refusals(athlete_id: int) -> Iterator[None]:
    """Tell in one line what Postgres refuses of rows that looked right."""
    try:
        yield
    except (DataError, IntegrityError) as error:
        raise _refused(athlete_id, error) from None


def _refused(athlete_id: int, error: DataError | IntegrityError) -> UnreadableFile:
    reason = error.diag.message_primary or type(error).__name__
    return UnreadableFile(
        f"the export of athlete {athlete_id} does not fit into these tables: {reason}; nothing is restored"
    )


def _write(
    connection: Connection,
    export: OpenedExport,
    tables: list[ExportedTable],
    found: Found,
    told: Callable[[str], None],
) -> int:
    numbers = {
        table.full_name: _numbers(connection, table, found.numbers[table.full_name])
        for table in tables
        if table.full_name in found.numbers
    }
    rows = 0
    # Others who store the same segments wait from then on, so they come last.
    for table in sorted(tables, key=lambda table: table.full_name == SEGMENTS):
        told(f"writing {table.full_name}")
        theirs = _here(export, table, numbers)
        if table.full_name == RECORDING_BYTES:
            rows += _insert_recordings(connection, export, theirs)
        elif table.full_name == SEGMENTS:
            rows += _insert_missing(connection, table, theirs)
        else:
            rows += _copy(connection, table, theirs)
    return rows


def _here(export: OpenedExport, table: ExportedTable, numbers: _Numbers) -> Iterator[Row]:
    """The rows of a table as they are stored here."""
    renamed = [(column, other) for column, other in REFERENCES.items() if column in table.names]
    if table.numbered is not None:
        renamed.append((table.numbered.name, table.full_name))
    for row in read_rows(export, table):
        resting = at_rest(table.full_name, row, export.manifest.taken_at)
        new = {column: numbers[other][row[column]] for column, other in renamed if row[column] is not None}
        yield resting | new


def _numbers(connection: Connection, table: ExportedTable, olds: list[int]) -> dict[int, int]:
    """The rows' numbers here: the same if nobody had or gets them otherwise, else new ones in the same order."""
    following = SQL("SELECT nextval({}) FROM generate_series(1, {})")
    driver, sequence = driver_of(connection), table.numbered and table.numbered.sequence
    with driver_errors(connection):
        first: int = driver.execute(following.format(sequence, 1)).fetchall()[0][0]
        highest = max(olds)
        if min(olds) >= first and highest - first <= _MOST_SKIPPED:
            skipped = SQL("SELECT count(number) FROM ({}) AS skipped (number)")
            driver.execute(skipped.format(following.format(sequence, highest - first)))
            return {old: old for old in olds}
        more = driver.execute(following.format(sequence, len(olds))).fetchall()
    return {old: new[0] for old, new in zip(sorted(olds), more, strict=True)}


def _copy(connection: Connection, table: ExportedTable, rows: Iterator[Row]) -> int:
    """Copy rows into a table; returns how many."""
    names = SQL(", ").join(map(Identifier, table.names))
    statement = SQL("COPY {} ({}) FROM STDIN").format(table.target, names)
    count = 0
    with driver_errors(connection), driver_of(connection).cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write(copied(row[name] for name in table.names))
            count += 1
    return count


def _insert_missing(connection: Connection, table: ExportedTable, rows: Iterator[Row]) -> int:
    """Copy rows that several athletes share; a row that is here already stays as it is."""
    staging = Identifier(f"restored_{table.name}")
    names = SQL(", ").join(map(Identifier, table.names))
    count = 0
    with driver_errors(connection), driver_of(connection).cursor() as cursor:
        cursor.execute(
            SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                staging, names, table.target
            )
        )
        with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(staging, names)) as copy:
            for row in rows:
                copy.write(copied(row[name] for name in table.names))
                count += 1
        cursor.execute(
            SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT DO NOTHING").format(
                table.target, names, names, staging, SQL(", ").join(map(Identifier, table.key))
            )
        )
    return count


def _insert_recordings(connection: Connection, export: OpenedExport, rows: Iterator[Row]) -> int:
    """Store the recordings, each with its file; returns how many."""
    count = 0
    for row in rows:
        with export.open(recording_file(row["recording_id"], row["kind"])) as file:
            body = file.readall()
        names = SQL(", ").join(map(Identifier, (*row, BODY)))
        values = SQL(", ").join([SQL("%b")] * (len(row) + 1))
        with driver_errors(connection):
            driver_of(connection).execute(
                SQL("INSERT INTO {} ({}) VALUES ({})").format(Identifier("ops", "recording_bytes"), names, values),
                (*row.values(), body),
            )
        count += 1
    return count


def _forget_lake(connection: Connection, athlete_id: int) -> None:
    """The lake here has no files of the athlete yet: let all months be written."""
    no_file = {"lake_at": None, "lake_outdated_at": None}
    connection.execute(update(import_months).where(import_months.c.athlete_id == athlete_id).values(no_file))
    ids = connection.execute(select(activities.c.id).where(activities.c.athlete_id == athlete_id)).scalars()
    mark_outdated(connection, months_of_samples(connection, list(ids)))
