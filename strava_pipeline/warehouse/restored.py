"""Whether these tables come from a backup that was not compared with Strava yet: then nobody may call Strava.

A backup brings back athletes who have left since, and tokens that are dead. One row says to which server and database
the tables belong. A dump that is loaded elsewhere carries the row of the server it was taken from, so it differs; a
physical copy that is promoted, as after a fail-over, does not. A restore into the same database cannot be seen: the
operator tells (:func:`hold_calls`). The check (:mod:`strava_pipeline.sync.restore_check`) lets calls go again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, literal, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert

from strava_pipeline.errors import RestoreUnchecked
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.restore_tables import database_identity

_c = database_identity.c
IS_ROW = _c.id == 1
# Whoever waits looks again so often.
LOOK_AGAIN = timedelta(minutes=1)
UNKNOWN_SERVER = 0
_TOLD = (_c.system_identifier, _c.database_oid, _c.check_begun_at)
_ALWAYS = select(literal(1).label("row")).subquery()
_MAY_ASK = text("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')")
_SERVER: ColumnElement[int] = literal_column(
    "(SELECT system_identifier FROM pg_catalog.pg_control_system())", BigInteger
)
_NO_SERVER: ColumnElement[int] = literal_column(str(UNKNOWN_SERVER), BigInteger)
_DATABASE: ColumnElement[int] = literal_column(
    "(SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database())", BigInteger
)
_KNOWN = "strava-pipeline may ask for the server"


@dataclass(frozen=True)
class Identity:
    """A server and a database on it: no other database ever has both numbers, but for physical copies."""

    system_identifier: int
    database_oid: int


@dataclass(frozen=True)
class Belonging:
    """To which database the tables belong by their own word, which may be none yet, and in which one they are.

    ``check_begun_at``: since when they are compared with Strava (UTC).
    """

    here: Identity
    told: Identity | None = None
    check_begun_at: datetime | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the tables were in another database before."""
        return self.told is not None and self.told != self.here

    @property
    def holds_calls(self) -> bool:
        """Whether nobody may call Strava, but for the check."""
        return self.is_elsewhere or self.check_begun_at is not None

    def refusal(self, moment: datetime) -> RestoreUnchecked | None:
        """The error for a call that must not be sent; ``None`` if it may."""
        if not self.holds_calls:
            return None
        return RestoreUnchecked(unchecked_line(self), since=self.check_begun_at, retry_at=moment + LOOK_AGAIN)


def unchecked_line(belonging: Belonging) -> str:
    """Return one line that says why nobody calls Strava, and what to do."""
    if belonging.check_begun_at is not None:
        begun = f"the check of the restored database, begun at {belonging.check_begun_at:%Y-%m-%d %H:%M} UTC,"
        why = f"{begun} has not ended"
    else:
        why = "the tables were restored from a backup, or moved: they belong to another server or database"
    return f"{why}; nothing calls Strava until strava-pipeline restore check has passed"


def belonging_columns(connection: Connection) -> tuple[ColumnElement[Any], ...]:
    """The columns of which :func:`belonging_of` takes the values; the row of the table may be missing.

    Where the tables are is asked anew each time: a pooler may send the same connection to another server.
    """
    return (*_here(connection), *_TOLD)


def belonging_of(row: Sequence[Any]) -> Belonging:
    """What the values of :func:`belonging_columns` say."""
    server, database, told_server, told_database, check_begun_at = row
    here = Identity(server, database)
    if told_server is None:
        return Belonging(here)
    return Belonging(here, Identity(told_server, told_database), check_begun_at)


def load_belonging(connection: Connection, *, lock: bool = False) -> Belonging:
    """Load what the tables say; ``lock``: nobody else changes it until the transaction ends."""
    if lock:
        connection.execute(select(_c.id).where(IS_ROW).with_for_update())
    query = select(*belonging_columns(connection)).select_from(_ALWAYS.outerjoin(database_identity, IS_ROW))
    return belonging_of(connection.execute(query).one())


def refuse_unchecked(connection: Connection, moment: datetime) -> None:
    """Raise ``RestoreUnchecked`` if nobody may call Strava; tables that belong nowhere so far belong here from now."""
    belonging = load_belonging(connection)
    if belonging.told is None:
        settle_here(connection)
    error = belonging.refusal(moment)
    if error is not None:
        raise error


def are_calls_held(connection: Connection) -> bool:
    """Whether nobody may call Strava until a check has passed."""
    return load_belonging(connection).holds_calls


def settle_here(connection: Connection) -> None:
    """Note that the tables belong to this database, unless they belong to one already."""
    here = identity_here(connection)
    connection.execute(
        insert(database_identity)
        .values(id=1, system_identifier=here.system_identifier, database_oid=here.database_oid)
        .on_conflict_do_nothing()
    )


def hold_calls(connection: Connection) -> None:
    """Note that the tables belong here and are being checked from now on: nobody but the check calls Strava."""
    here = identity_here(connection)
    values = {
        "system_identifier": here.system_identifier,
        "database_oid": here.database_oid,
        "check_begun_at": database_time(),
    }
    connection.execute(
        insert(database_identity).values(id=1, **values).on_conflict_do_update(index_elements=[_c.id], set_=values)
    )


def let_calls_go(connection: Connection) -> None:
    """Note that the check has passed."""
    connection.execute(update(database_identity).where(IS_ROW).values(check_begun_at=None))


def identity_here(connection: Connection) -> Identity:
    """Return which database a connection is to."""
    return Identity(*connection.execute(select(*_here(connection))).one())


def _here(connection: Connection) -> tuple[ColumnElement[int], ColumnElement[int]]:
    """The numbers of server and database; where the login may not ask for the server, the database's alone tells."""
    may_ask = connection.info.get(_KNOWN)
    if may_ask is None:
        may_ask = connection.info[_KNOWN] = bool(connection.execute(_MAY_ASK).scalar_one())
    return (_SERVER if may_ask else _NO_SERVER), _DATABASE
