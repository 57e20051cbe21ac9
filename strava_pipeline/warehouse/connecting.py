"""Opens connections on which our settings hold in every transaction, also through a pooler.

Postgres takes a session's settings as the session begins. A pooler that lends its connections for one transaction each,
such as PgBouncer, refuses such settings or leaves them out, and what a session sets or prepares later stays with a
connection that the next transaction may not get. There, the settings go ahead of the first statement of each
transaction, in the same round trip, and no statement is prepared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.types.datetime import TimestamptzBinaryLoader, TimestamptzLoader

from strava_pipeline.errors import ConfigurationError

# Set by the options of each connection: a server that has it has taken the others, too.
_TAKEN = "strava_pipeline.options"
_ASK_TAKEN = f"SELECT current_setting('{_TAKEN}', true)".encode()
_READ_ONLY_BY_DEFAULT = "default_transaction_read_only"
# What poolers answer to options that they cannot pass on: PgBouncer, Amazon's RDS Proxy.
_REFUSES_OPTIONS = re.compile(r"startup parameter|command-line options", re.IGNORECASE)
_WORD = re.compile(r"(?:\\.|[^\s\\])+")
_ESCAPED = re.compile(r"\\(.)")
# The server reports both by itself, at a login and at each change; versions before 14 do not.
_FOLLOWS = "in_hot_standby"
_REFUSE_WRITES = (_FOLLOWS, _READ_ONLY_BY_DEFAULT)
_ASK_FOLLOWS = b"SELECT pg_is_in_recovery()"
_ASK_REFUSES_WRITES = f"SELECT pg_is_in_recovery() OR current_setting('{_READ_ONLY_BY_DEFAULT}')::bool".encode()


class Session(psycopg.Connection[Any]):
    """A connection; through a pooler, ``ahead`` is sent before the first statement of each transaction."""

    ahead: bytes | None = None

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler has not passed our options on, so that nothing outlasts a transaction."""
        return self.ahead is not None

    @contextmanager
    def pipeline(self) -> Iterator[psycopg.Pipeline]:
        """Send several statements together, as psycopg does; through a pooler by :class:`_PipelineBehind`."""
        if self.is_pooled and self._pipeline is None and not self.closed:
            self._pipeline = _PipelineBehind(self)
        with super().pipeline() as pipeline:
            yield pipeline


def connect(parameters: Mapping[str, Any], settings: Mapping[str, str]) -> Session:
    """Connect by libpq's ``parameters``; ``settings`` of Postgres hold in each transaction, before options of theirs.

    ``psycopg.OperationalError`` without a server. ``ConfigurationError`` if a pooler is in between, and the server does
    not let a transaction set what the address's own options name.
    """
    options = str(parameters.get("options", ""))
    ours = " ".join(f"-c {name}={value}" for name, value in (*settings.items(), (_TAKEN, "on")))
    own, rest = _read_options(options)
    try:
        session = Session.connect(**{**parameters, "options": f"{options} {ours}".strip()})
    except psycopg.OperationalError as error:
        if not _REFUSES_OPTIONS.search(str(error)):
            raise
        session = Session.connect(**{**parameters, "options": rest})
    try:
        if not _has_taken_options(session):
            _set_by_transaction(session, own | dict(settings))
    except BaseException:
        session.close()
        raise
    return session


def refuses_writes(session: psycopg.Connection[Any]) -> bool:
    """Whether an idle session's server follows a primary, or is read-only."""
    if not is_pooled(session):
        return any(session.info.parameter_status(name) == "on" for name in _REFUSE_WRITES)
    # A pooler repeats what the server told when the pooler connected to it.
    return bool(_at_once(session, _ASK_REFUSES_WRITES))


def follows_primary(session: psycopg.Connection[Any]) -> bool:
    """Whether an idle session's server follows a primary."""
    if not is_pooled(session):
        return session.info.parameter_status(_FOLLOWS) == "on"
    return bool(_at_once(session, _ASK_FOLLOWS))


def is_pooled(session: object) -> bool:
    """Whether this is a session of ours that lasts for one transaction only; see :class:`Session`."""
    return isinstance(session, Session) and session.is_pooled


def _has_taken_options(session: Session) -> bool:
    return bool(_at_once(session, _ASK_TAKEN) == "on")


def _set_by_transaction(session: Session, settings: Mapping[str, str]) -> None:
    of_transactions = {_READ_ONLY_BY_DEFAULT: "transaction_read_only"}
    calls = [
        sql.SQL("set_config({}, {}, true)").format(of_transactions.get(name, name), value)
        for name, value in settings.items()
    ]
    session.prepare_threshold = None
    ahead = sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls)).as_bytes(session)
    try:
        _at_once(session, ahead)
    except psycopg.DatabaseError as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
            raise
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"the database's address goes through a pooler, where its options cannot be set ({reason}):"
            " leave them out of the address, and set them for the login by ALTER ROLE"
        ) from None
    session.ahead = ahead
    session.cursor_factory = _CursorBehind
    session.server_cursor_factory = _ServerCursorBehind
    session.adapters.register_loader("timestamptz", _UtcLoader)
    session.adapters.register_loader("timestamptz", _UtcBinaryLoader)


def _at_once(session: psycopg.Connection[Any], statement: bytes) -> Any:
    """The value that a statement has in a transaction of its own, in one round trip; the session is idle."""
    before, session.autocommit = session.autocommit, True
    try:
        row = psycopg.Cursor(session).execute(statement).fetchone()
    finally:
        session.autocommit = before
    return None if row is None else row[0]


@contextmanager
def _sent_ahead(session: Session) -> Iterator[None]:
    """Send the settings before what the block sends, unless a transaction is open, which has them.

    In autocommit all that is sent together is one transaction, too.
    """
    if session.info.transaction_status != TransactionStatus.IDLE or session.ahead is None:
        yield
        return
    with session.pipeline():
        psycopg.Cursor(session).execute(session.ahead)
        yield


def _begin(session: Session) -> None:
    """Open a transaction with the settings, before what cannot be sent together with them."""
    if session.autocommit:
        raise psycopg.NotSupportedError("COPY and streams need a transaction where a pooler is in between")
    with _sent_ahead(session):
        pass


class _PipelineBehind(psycopg.Pipeline):
    """The pipeline of a session through a pooler: it sends nothing after the message that ends a transaction.

    psycopg sends a Flush after it. Where that comes late, PgBouncer has ended the transaction, and takes another of its
    connections for the Flush. The idle session keeps that one until its next transaction, and others wait in vain.
    """

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            yield from self._fetch_gen(flush=False)


class _CursorBehind(psycopg.Cursor[Any]):
    """A cursor of a session through a pooler."""

    def execute(self, *arguments: Any, **options: Any) -> _CursorBehind:
        with _sent_ahead(_session_of(self)):
            return super().execute(*arguments, **options)

    def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        with _sent_ahead(_session_of(self)):
            super().executemany(query, params_seq, returning=returning)

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        _begin(_session_of(self))
        return super().stream(*arguments, **options)

    @contextmanager
    def copy(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
        _begin(_session_of(self))
        with super().copy(*arguments, **options) as copy:
            yield copy


class _ServerCursorBehind(psycopg.ServerCursor[Any]):
    """A server's cursor of such a session, which lasts as long as its transaction."""

    def execute(self, *arguments: Any, **options: Any) -> _ServerCursorBehind:
        _begin(_session_of(self))
        return super().execute(*arguments, **options)


def _session_of(cursor: psycopg.Cursor[Any]) -> Session:
    return cast("Session", cursor.connection)  # its factory of cursors made this one


class _UtcLoader(TimestamptzLoader):
    """Reads times as UTC, as the transaction wrote them: the driver only knows the session's own time zone."""

    def load(self, data: Any) -> datetime:
        return super().load(data).astimezone(UTC)


class _UtcBinaryLoader(TimestamptzBinaryLoader):
    """The same for the binary format."""

    def load(self, data: Any) -> datetime:
        return super().load(data).astimezone(UTC)


def _read_options(options: str) -> tuple[dict[str, str], str]:
    """The settings that an address's own options name, and the rest of the options, such as Neon's ``endpoint=...``."""
    settings, rest = {}, []
    words = iter(_WORD.findall(options))
    for word in words:
        assignment = next(words, "") if word == "-c" else word[2:] if word.startswith(("-c", "--")) else ""
        name, is_one, value = _ESCAPED.sub(r"\1", assignment).partition("=")
        if is_one:
            settings[name.replace("-", "_") if word.startswith("--") else name] = value
        else:
            rest.append(word)
    return settings, " ".join(rest)
