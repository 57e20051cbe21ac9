"""Every lock that processes share: rows of ``ops.locks``, each held until the transaction that took it ends.

They are rows because nobody without rights on schema ``ops`` can hold one: any login of a database may take any
advisory lock, and sees the keys of those that are held. A row is made when it is first taken; taking it again writes
no new version of it. Who waits longer than ``lock_timeout`` gets ``DatabaseUnavailable``.

A statement that waited for a row goes on with what it saw before it waited. So what a lock guards is read in a later
statement, never in the one that takes it.

Where one transaction holds several, they are taken in this order: events of the inbox, ``STORING``, the athlete's row
in ``ops.users``, ``ROUTES``. All others are taken alone, and first.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum, unique

from psycopg.errors import DuplicateSchema, DuplicateTable, UniqueViolation
from sqlalchemy import ColumnElement, Connection, Delete, and_, delete, false, inspect, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_lock
from sqlalchemy.exc import IntegrityError, ProgrammingError

from strava_pipeline.warehouse.schema.ops_tables import locks

NOBODY = 0
_c = locks.c


@unique
class Lock(StrEnum):
    """What there is once."""

    QUOTA = "quota"  # rate windows are read and booked
    CLAIMS = "claims"  # claims and take-ups of one object must not cross
    RIGHTS = "rights"  # logins are made, and given their rights and limits


@unique
class AthleteLock(StrEnum):
    """What there is once for each athlete, or for each month of an athlete."""

    STORING = "storing"  # activities are stored or deleted
    ROUTES = "routes"  # new routes are told from known ones
    TRAINING_LOAD = "training_load"  # days are computed
    LAKE_MONTH = "lake_month"  # a month's file is written


# The time is that after the lock was had: a row of the first query comes before what is told of it.
_TAKE_TELLING_TIME = text(
    "WITH held AS MATERIALIZED ("
    "SELECT set_config('synchronous_commit', :waits, true) FROM ops.locks"
    " WHERE name = :name AND athlete_id = 0 AND subject = '' FOR NO KEY UPDATE"
    ") SELECT clock_timestamp() FROM held"
)


def acquire(connection: Connection, lock: Lock) -> None:
    """Hold it until the transaction ends."""
    _take(connection, lock, NOBODY, "")


def acquire_for_athlete(connection: Connection, lock: AthleteLock, athlete_id: int, subject: str = "") -> None:
    """Hold an athlete's, or that of one ``subject`` of theirs, until the transaction ends."""
    _take(connection, lock, athlete_id, subject)


def acquire_with_time(connection: Connection, lock: Lock, *, waits_for_disk: bool) -> datetime:
    """Hold it until the transaction ends; the time (UTC) at which it was had, in one trip to the server.

    ``waits_for_disk``: whether the commit is to wait for the disk.
    """
    given = {"name": str(lock), "waits": "on" if waits_for_disk else "off"}
    while (moment := connection.execute(_TAKE_TELLING_TIME, given).scalar()) is None:
        acquire(connection, lock)  # makes the row
    had_at: datetime = moment
    return had_at


def acquire_for_migration(connection: Connection, schema: str, table: str) -> None:
    """Be the only one who changes the tables until the transaction ends; works in an empty database as well.

    The lock is the table of revisions, as alembic makes it: it was there before ``ops.locks``. Readers do not wait.
    """
    if not inspect(connection).has_schema(schema):
        _create(connection, f"CREATE SCHEMA {schema}")
    if not inspect(connection).has_table(table, schema=schema):
        columns = f"version_num VARCHAR(32) NOT NULL, CONSTRAINT {table}_pkc PRIMARY KEY (version_num)"
        _create(connection, f"CREATE TABLE {schema}.{table} ({columns})")
    connection.execute(text(f"LOCK TABLE {schema}.{table} IN SHARE ROW EXCLUSIVE MODE"))


def delete_locks(connection: Connection, athlete_id: int) -> None:
    """Remove the rows of an athlete; one that is held stays until :func:`delete_unused_locks` finds it free."""
    connection.execute(_delete_free(_c.athlete_id == athlete_id))


def delete_unused_locks(connection: Connection) -> int:
    """Remove the rows of all athletes that nobody holds; returns how many. They come back when they are needed."""
    return connection.execute(_delete_free(_c.athlete_id != NOBODY)).rowcount


def _take(connection: Connection, name: str, athlete_id: int, subject: str) -> None:
    """Makes the row or locks it, whichever it takes: of two who make it, one waits, as if it had been there."""
    row = insert_or_lock(locks).values(name=str(name), athlete_id=athlete_id, subject=subject)
    # A row that is not to be changed is locked all the same.
    never = row.on_conflict_do_update(
        index_elements=[_c.name, _c.athlete_id, _c.subject], set_={"subject": row.excluded.subject}, where=false()
    )
    connection.execute(never)


def _delete_free(condition: ColumnElement[bool]) -> Delete:
    free = select(_c.name, _c.athlete_id, _c.subject).where(condition).with_for_update(skip_locked=True).cte("free")
    same = and_(_c.name == free.c.name, _c.athlete_id == free.c.athlete_id, _c.subject == free.c.subject)
    return delete(locks).where(same)


def _create(connection: Connection, statement: str) -> None:
    """Who comes second waits until the first one's transaction ends, and is told then that it is there."""
    try:
        with connection.begin_nested():
            connection.execute(text(statement))
    except (IntegrityError, ProgrammingError) as error:
        if not isinstance(error.orig, UniqueViolation | DuplicateSchema | DuplicateTable):
            raise
