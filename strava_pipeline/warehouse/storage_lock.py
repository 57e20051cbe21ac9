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


def take_storage_lock(settings: Settings) -> StorageLock:
    """Take the lock of the storage that the settings name; its database must exist.

    ``StorageTaken`` names who has it; ``DatabaseUnavailable`` without a server.
    """
    url = parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL")
    lock = StorageLock(open_engine(url).connect())
    try:
        holder = _holder_unless_taken(lock.connection)
    except BaseException:
        lock.close()
        raise
    if holder is None:
        return lock
    lock.close()
    raise StorageTaken(
        f"another strava-pipeline up has Dagster's storage at {without_password(url)}{holder}: stop that one, or give"
        " this one a storage of its own, by another STRAVA_HOME or DAGSTER_POSTGRES_URL"
    )


def _holder_unless_taken(connection: Connection) -> str | None:
    """Take the lock, and return ``None``; or return who has it, in words, '' for one that has just given it back."""
    limits = _LIMITS | {"application_name": _own_name()}
    connection.execute(_SET, {"names": list(limits), "values": list(limits.values())})
    if connection.execute(_TAKE).scalar_one():
        return None
    holder = connection.execute(_HOLDER).first()
    if holder is None:
        return ""
    name, since = holder
    # Since when is hidden from another login.
    return f" ({name}, since {since} UTC)" if since else f" ({name})"


def _own_name() -> str:
    process = f", process {os.getpid()}"
    return f"up on {socket.gethostname()[: LONGEST_NAME - len('up on ') - len(process)]}{process}"
