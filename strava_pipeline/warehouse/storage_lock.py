"""The lock of Dagster's storage, which one ``up`` holds at a time, whichever machine it runs on.

It is an advisory lock of a transaction that stays open as long as its connection does. The server frees it when the
connection ends, however that is; it asks for a sign of life of a machine that vanished after 15 seconds, and gives it
up after half a minute. A transaction, since a pooler may lend a session's server to somebody else. It reads and writes
nothing, so it holds back no vacuum, as the lock of a row would.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from sqlalchemy import Connection, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.kept_lock import StorageTaken
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.addresses import parse_url, without_password
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine

# Postgres cuts what is longer.
LONGEST_NAME = 63
# Each server knows some of these: it may not end the transaction, and must notice a machine that vanished.
_LIMITS = {
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SET = text(
    "SELECT set_config(s.name, w.value, true) FROM pg_settings AS s"
    " JOIN unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS w(name, value) ON w.name = s.name"
)
# Any number will do: no other program takes advisory locks in Dagster's database. Several Dagsters may share one, each
# with a schema of its own. Without parameters, so that the server forgets the statement's snapshot once it is done.
_TAKE = text("SELECT pg_try_advisory_xact_lock(1398035792, hashtext(coalesce(current_schema(), '')))")
# The view shows both numbers without a sign.
_HOLDER = text(
    "SELECT a.application_name, to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
    " FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid JOIN pg_database AS d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND d.datname = current_database()"
    " AND l.classid::bigint = 1398035792"
    " AND l.objid::bigint = hashtext(coalesce(current_schema(), ''))::bigint & 4294967295"
)


@dataclass(frozen=True)
class StorageLock:
    """A connection that holds the lock until it is closed; ``descriptor`` is its socket."""

    connection: Connection

    @property
    def descriptor(self) -> int:
        """The file descriptor of the socket. As long as any process has it open, the lock is held."""
        number: int = driver_of(self.connection).fileno()
        return number

    def close(self) -> None:
        """Free the lock."""
        self.connection.invalidate()
        self.connection.close()
        self.connection.engine.dispose()


@dataclass(frozen=True)
class _Holder:
    """Who has the lock: the name of the connection, and since when, which is hidden from another login.

    Both are empty for one that has just given it back.
    """

    name: str = ""
    since: str | None = None

    def __str__(self) -> str:
        if not self.name:
            return ""
        return f" ({self.name}, since {self.since} UTC)" if self.since else f" ({self.name})"


def take_storage_lock(settings: Settings, *, again_for: int | None = None) -> StorageLock:
    """Take the lock of the storage that the settings name; its database must exist.

    ``StorageTaken`` names who has it; ``DatabaseUnavailable`` without a server. ``again_for``: the number of the
    process on this machine that has lost the lock with its connection, and keeps it from now on; ``WarehouseError`` as
    long as the server does not know of the connection's end.
    """
    url = parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL")
    name = _name_of(os.getpid() if again_for is None else again_for)
    lock = StorageLock(open_engine(url).connect())
    try:
        holder = _holder_unless_taken(lock.connection, name)
    except BaseException:
        lock.close()
        raise
    if holder is None:
        return lock
    lock.close()
    where = f"at {without_password(url)}{holder}"
    if again_for is not None and holder.name == name:
        raise WarehouseError(
            f"the server keeps the lock of Dagster's storage {where} for the connection that was lost: it gives it up"
            " within half a minute"
        )
    raise StorageTaken(
        f"another strava-pipeline up has Dagster's storage {where}: stop that one, or give this one a storage of its"
        " own, by another STRAVA_HOME or DAGSTER_POSTGRES_URL"
    )


def _holder_unless_taken(connection: Connection, name: str) -> _Holder | None:
    """Take the lock under a name, and return ``None``; or return who has it."""
    limits = _LIMITS | {"application_name": name}
    connection.execute(_SET, {"names": list(limits), "values": list(limits.values())})
    if connection.execute(_TAKE).scalar_one():
        return None
    holder = connection.execute(_HOLDER).first()
    return _Holder() if holder is None else _Holder(*holder)


def _name_of(process: int) -> str:
    told = f", process {process}"
    return f"up on {socket.gethostname()[: LONGEST_NAME - len('up on ') - len(told)]}{told}"
