"""Every lock that processes share: rows of ``ops.locks``, each held until the transaction that took it ends.

The locks are rows, so that only logins with rights on schema ``ops`` can hold one. Any login of a database may take any
advisory lock, and sees the keys of those that are held. A row is inserted when its lock is first taken; taking it again
writes no new version of the row. Waiting longer than ``lock_timeout`` raises ``DatabaseUnavailable``.

A statement that waited for a lock continues with the snapshot from before the wait. So data that a lock guards is read
in a later statement, never in the one that takes the lock.

A transaction that holds several locks takes them in this order: events of the inbox, ``STORING``, the athlete's row in
``ops.users``, ``IMPORTS`` or ``ROUTES``, ``OWNERS``. All other locks are taken alone, and first.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum, unique

from psycopg.errors import DuplicateSchema, DuplicateTable, UniqueViolation
from sqlalchemy import ColumnElement, Connection, Delete, and_, delete, false, inspect, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_lock
from sqlalchemy.exc import IntegrityError, ProgrammingError

from strava_pipeline.warehouse.schema.work_tables import locks

NOBODY = 0
_c = locks.c


@unique
class Lock(StrEnum):
    """Locks that exist once."""

    QUOTA = "quota"  # rate windows are read and booked; whether the API answers is noted
    OAUTH = "oauth"  # whether OAuth answers is noted
    CLAIMS = "claims"  # objects are claimed, or claims taken up by their runs
    CHECKS = "checks"  # changed months are checked
    ALERTS = "alerts"  # alerts are evaluated, silenced or told
    UPLOADS = "uploads"  # an upload by browser begins
    OWNERS = "owners"  # what was handed in says whose an activity is: rows by Strava's id, files by their bytes
    RIGHTS = "rights"  # logins are created, and given their rights and limits


@unique
class AthleteLock(StrEnum):
    """Locks that exist once for each athlete, or for each month of an athlete."""

    STORING = "storing"  # activities are stored or deleted
    IMPORTS = "imports"  # imports are asked for, paused, resumed or deleted
    ROUTES = "routes"  # an activity is matched with known routes, or stored as a new one
    TRAINING_LOAD = "training_load"  # days are computed
    LAKE_MONTH = "lake_month"  # a month's file is written


# The time is taken after the lock: the main query runs only once the materialized one has returned its row.
_TAKE_TELLING_TIME = text(
    "WITH held AS MATERIALIZED ("
    "SELECT set_config('synchronous_commit', :waits, true) FROM ops.locks"
    " WHERE name = :name AND athlete_id = 0 AND subject = '' FOR NO KEY UPDATE"
    ") SELECT ops.clock() FROM held"
)


def acquire(connection: Connection, lock: Lock) -> None:
    """Take a lock, and hold it until the transaction ends."""
    _take(connection, lock, NOBODY, "")


def acquire_for_athlete(connection: Connection, lock: AthleteLock, athlete_id: int, subject: str = "") -> None:
    """Take an athlete's lock, or that for one ``subject`` such as a month, and hold it until the transaction ends."""
    _take(connection, lock, athlete_id, subject)


def acquire_with_time(connection: Connection, lock: Lock, *, waits_for_disk: bool) -> datetime:
    """Take a lock until the transaction ends; return the time (UTC) at which it was taken, in one round trip.

    ``waits_for_disk``: whether the transaction's commit waits for the disk.
    """
    given = {"name": str(lock), "waits": "on" if waits_for_disk else "off"}
    while (moment := connection.execute(_TAKE_TELLING_TIME, given).scalar()) is None:
        acquire(connection, lock)  # inserts the row
    had_at: datetime = moment
    return had_at


def acquire_for_migration(connection: Connection, schema: str, table: str) -> None:
    """Keep other processes from migrating until the transaction ends; works in an empty database, too.

    The lock is on alembic's table of revisions, which exists before ``ops.locks``; it is created if it does not exist.
    Readers of that table do not wait.
    """
    if not inspect(connection).has_schema(schema):
        _create(connection, f"CREATE SCHEMA {schema}")
    if not inspect(connection).has_table(table, schema=schema):
        columns = f"version_num VARCHAR(32) NOT NULL, CONSTRAINT {table}_pkc PRIMARY KEY (version_num)"
        _create(connection, f"CREATE TABLE {schema}.{table} ({columns})")
    connection.execute(text(f"LOCK TABLE {schema}.{table} IN SHARE ROW EXCLUSIVE MODE"))


def delete_locks(connection: Connection, athlete_id: int) -> None:
    """Delete the rows of an athlete; a row that is locked stays until :func:`delete_unused_locks` finds it free."""
    connection.execute(_delete_free(_c.athlete_id == athlete_id))


def delete_unused_locks(connection: Connection) -> int:
    """Delete the rows of all athletes that nobody holds; return how many. A row is inserted again when it is needed."""
    return connection.execute(_delete_free(_c.athlete_id != NOBODY)).rowcount


def _take(connection: Connection, name: str, athlete_id: int, subject: str) -> None:
    """Insert the row, or lock it if it exists. Of two processes that insert it at once, one waits for the other."""
    row = insert_or_lock(locks).values(name=str(name), athlete_id=athlete_id, subject=subject)
    # The update's condition is false, so the row is not changed, but Postgres locks it all the same.
    never = row.on_conflict_do_update(
        index_elements=[_c.name, _c.athlete_id, _c.subject], set_={"subject": row.excluded.subject}, where=false()
    )
    connection.execute(never)


def _delete_free(condition: ColumnElement[bool]) -> Delete:
    free = select(_c.name, _c.athlete_id, _c.subject).where(condition).with_for_update(skip_locked=True).cte("free")
    same = and_(_c.name == free.c.name, _c.athlete_id == free.c.athlete_id, _c.subject == free.c.subject)
    return delete(locks).where(same)


def _create(connection: Connection, statement: str) -> None:
    """Create a schema or table. A second process waits for the first one's transaction, and ignores that it exists."""
    try:
        with connection.begin_nested():
            connection.execute(text(statement))
    except (IntegrityError, ProgrammingError) as error:
        if not isinstance(error.orig, UniqueViolation | DuplicateSchema | DuplicateTable):
            raise
