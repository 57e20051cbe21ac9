"""What people are shown: read from the primary or, while that is away, from its replica.

A replica is behind its primary, by an unknown time once the primary is away. So nothing that decides may read here:
``[tool.importlinter]`` names the modules that may. All connections are read-only, those to the primary, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from sqlalchemy import URL, Connection, Engine, func, select

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow, DatabaseUnavailable
from strava_pipeline.local.logins import Login
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.addresses import parse_url, without_password
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.connecting import follows_primary
from strava_pipeline.warehouse.engine import driver_errors, ensure_database_url, ensure_sql_url, open_read_only_engine
from strava_pipeline.warehouse.migrate import HEAD, is_later, open_warehouse, stored_revision

# While the primary is away, each read would wait for it; so it is asked again after this time only.
ASK_PRIMARY_AGAIN_SECONDS = 5.0
Result = TypeVar("Result")
Work = Callable[[Connection], Result]
log = get_logger(__name__)


@dataclass(frozen=True)
class ReplicaState:
    """How far the replica at ``where`` is, and why it was read instead of its primary (``because``).

    ``replayed_at``: when the newest change that it has replayed was committed at the primary (UTC); ``None`` if it has
    replayed none since it started. The time stands still while nothing is written. ``follows``: whether it is a replica
    still, and was not promoted.
    """

    where: str
    replayed_at: datetime | None
    follows: bool
    because: str

    def __str__(self) -> str:
        return f"{self.as_of}, from {self.source} at {self.where}: {self.because}"

    @property
    def as_of(self) -> str:
        """The time of the data, for people."""
        if self.replayed_at is None:
            return "as of an unknown time"
        return f"as of {self.replayed_at:%Y-%m-%d %H:%M:%S} UTC{'' if self.follows else ' or later'}"

    @property
    def source(self) -> str:
        """What was read."""
        if not self.follows:
            return "the former replica, which follows no primary,"
        return "the replica" if self.replayed_at else "the replica, which has replayed no change since it started,"


@dataclass(frozen=True)
class Reading(Generic[Result]):
    """What was read; ``replica`` says how old it is if it comes from the replica."""

    value: Result
    replica: ReplicaState | None = None


@dataclass(frozen=True)
class Replica:
    """The replica, by a read-only engine."""

    engine: Engine

    def read(self, work: Work[Result], because: DatabaseUnavailable) -> Reading[Result]:
        """Return what ``work`` finds; ``because``: the primary's error.

        ``DatabaseUnavailable`` names both if the replica is away as well, or its tables are of another version.
        """
        try:
            with self.engine.connect() as connection:
                state = _look_at(connection, str(because))
                return Reading(work(connection), state)
        except DatabaseTooSlow:
            raise
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{because}; nor can its replica be read: {error}") from error

    def state(self, because: DatabaseUnavailable) -> ReplicaState:
        """Return how far the replica is; errors as in :meth:`read`."""
        return self.read(lambda connection: _look_at(connection, str(because)), because).value


class Reader:
    """Reads for a process that lasts: from the primary, or from the replica while that is away."""

    def __init__(self, primary: Engine, replica: Replica | None = None) -> None:
        self._primary = primary
        self._replica = replica
        # The primary's last error, and when to ask it again (monotonic, s).
        self._away: tuple[DatabaseUnavailable, float] | None = None

    def read(self, work: Work[Result]) -> Reading[Result]:
        """Return what ``work`` finds. It may be called twice, and must only read.

        ``DatabaseUnavailable`` if neither can be read; a primary that is too slow is not away.
        """
        if self._replica is None:
            return _read(self._primary, work)
        return self._of_replica_meanwhile(self._replica, work) or self._of_primary_first(self._replica, work)

    def _of_replica_meanwhile(self, replica: Replica, work: Work[Result]) -> Reading[Result] | None:
        """What the replica says while the primary is not asked again; ``None`` if that is over, or it is away, too."""
        away = self._away
        if away is None or time.monotonic() >= away[1]:
            return None
        try:
            return replica.read(work, away[0])
        except DatabaseTooSlow:
            raise
        except DatabaseUnavailable:
            return None

    def _of_primary_first(self, replica: Replica, work: Work[Result]) -> Reading[Result]:
        was_away = self._away is not None
        try:
            found = _read(self._primary, work)
        except DatabaseTooSlow:
            raise
        except DatabaseUnavailable as error:
            self._away = error, time.monotonic() + ASK_PRIMARY_AGAIN_SECONDS
            if not was_away:
                log.warning("%s; read from the replica at %s", error, without_password(replica.engine.url))
            return replica.read(work, error)
        if was_away:
            log.info("read from the primary again")
            self._away = None
        return found

    def close(self) -> None:
        """Close all connections."""
        self._primary.dispose()
        if self._replica is not None:
            self._replica.engine.dispose()


def open_reader(settings: Settings) -> Reader:
    """Return a reader by the configured addresses; connects to nothing yet."""
    primary = open_read_only_engine(ensure_database_url(settings), connections=settings.database_pool_size)
    return Reader(primary, open_replica(settings))


def open_replica(settings: Settings) -> Replica | None:
    """Return the configured replica, if there is one; connects to nothing yet."""
    if settings.database_replica_url is None:
        return None
    url = parse_url(settings.database_replica_url.get_secret_value(), "STRAVA_DATABASE_REPLICA_URL")
    return Replica(open_read_only_engine(url, connections=settings.database_pool_size))


def check_replica(settings: Settings) -> ReplicaState | None:
    """Return how far the configured replica is, if there is one.

    ``DatabaseUnavailable`` if it is away, or its tables are of another version.
    """
    replica = open_replica(settings)
    if replica is None:
        return None
    try:
        with replica.engine.connect() as connection:
            return _look_at(connection)
    finally:
        replica.engine.dispose()


def _look_at(connection: Connection, because: str = "") -> ReplicaState:
    where = without_password(connection.engine.url)
    follows, replayed_at = connection.execute(
        select(func.pg_is_in_recovery(), func.pg_last_xact_replay_timestamp())
    ).one()
    revision = stored_revision(connection)
    if revision != HEAD and not is_later(revision):
        raise DatabaseUnavailable(
            f"the replica at {where} has {f'tables of revision {revision}' if revision else 'no tables'}, and this"
            f" program needs {HEAD}: wait until it has replayed the migration, or use the version that made them"
        )
    return ReplicaState(where, replayed_at, follows, because)


@contextmanager
def look_at_primary(settings: Settings, longest_s: float) -> Iterator[Engine]:
    """Yield a read-only engine for the primary as it is: nothing is prepared, and its tables may be of any version.

    A statement may take ``longest_s``; connections are closed after the block.
    """
    engine = open_read_only_engine(ensure_database_url(settings), statement_seconds=longest_s)
    try:
        yield engine
    finally:
        engine.dispose()


def read_tables(settings: Settings, work: Work[Result]) -> Reading[Result]:
    """Return what ``work`` finds in the tables, once, as a command does; prepares an empty database first.

    ``work`` may be called twice, and must only read. Errors as in :meth:`Reader.read` and
    :func:`~strava_pipeline.warehouse.migrate.open_warehouse`.
    """
    try:
        with open_warehouse(settings) as engine:
            return _read(engine.execution_options(postgresql_readonly=True), work)
    except DatabaseUnavailable as error:
        return read_replica(settings, work, error)


def read_replica(settings: Settings, work: Work[Result], because: DatabaseUnavailable) -> Reading[Result]:
    """Return what ``work`` finds in the replica. Raises ``because``, the primary's error, if none is configured."""
    with _replica_instead(settings, because) as replica:
        return replica.read(work, because)


def find_sql_url(settings: Settings, login: Login) -> Reading[URL]:
    """Return the address to send a query to as ``login``: of the primary or, while that is away, of the replica.

    An empty database is prepared first. The replica is read as the same ``login``, never as that of its setting.
    """
    try:
        with open_warehouse(settings) as engine:
            return _read(engine, lambda _: ensure_sql_url(settings, login))
    except DatabaseUnavailable as error:
        return _sql_url_of_replica(settings, login, error)


def find_analyst_url(settings: Settings) -> Reading[URL]:
    """Return the address for frames, as :func:`find_sql_url`; ``STRAVA_ANALYST_DATABASE_URL`` suffices for it."""
    login = Login.SQL_AS_ANALYST
    if settings.analyst_database_url is None:
        return find_sql_url(settings, login)
    url = ensure_sql_url(settings, login)
    if settings.database_replica_url is None:
        return Reading(url)
    primary = open_read_only_engine(url)
    try:
        return _read(primary, lambda _: url)
    except DatabaseUnavailable as error:
        return _sql_url_of_replica(settings, login, error)
    finally:
        primary.dispose()


def _sql_url_of_replica(settings: Settings, login: Login, because: DatabaseUnavailable) -> Reading[URL]:
    with _replica_instead(settings, because) as replica:
        state = replica.state(because)
        ours, theirs = ensure_sql_url(settings, login), replica.engine.url
    if ours.username is None:
        raise ConfigurationError(
            f"{because}; to read from the replica, name a login in the address for sql"
        ) from because
    return Reading(theirs.set(username=ours.username, password=ours.password or ""), state)


@contextmanager
def _replica_instead(settings: Settings, error: DatabaseUnavailable) -> Iterator[Replica]:
    """Open the replica; raise the primary's ``error`` if there is none, or if the primary is not away but slow."""
    replica = None if isinstance(error, DatabaseTooSlow) else open_replica(settings)
    if replica is None:
        raise error
    try:
        yield replica
    finally:
        replica.engine.dispose()


def _read(engine: Engine, work: Work[Result]) -> Reading[Result]:
    """What the primary says; it may have become a replica."""
    with engine.connect() as connection:
        with driver_errors(connection):
            in_recovery = follows_primary(driver_of(connection))
        state = _look_at(connection, "it accepts no writes") if in_recovery else None
        return Reading(work(connection), state)
