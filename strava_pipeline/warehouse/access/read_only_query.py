"""Runs one query of a person that can only read, because of its login's rights and of the way it is run.

The query is that of a server-side cursor, which accepts a single SELECT, VALUES, TABLE or WITH and nothing else, in a
read-only transaction that is always rolled back.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from psycopg.types.json import set_json_loads
from sqlalchemy import URL

from strava_pipeline.errors import WarehouseError
from strava_pipeline.own_process import application_name
from strava_pipeline.warehouse.addresses import connection_parameters
from strava_pipeline.warehouse.connecting import connect
from strava_pipeline.warehouse.engine import (
    CONNECT_SECONDS,
    LOCK_MILLISECONDS,
    NETWORK_LIMITS,
    database_unavailable_error,
)

# Limits of one fetch, by the size of the row before: as much as fits into a socket, so that the server need not wait.
ROWS_AT_ONCE = 1000
CHARACTERS_AT_ONCE = 100_000
GROWTH = 4
# A printed row is in memory in several forms at once.
CHARACTERS_IN_ROW = 20_000_000
CURSOR = "answer"
_FETCH = SQL("FETCH FORWARD {} FROM {}")
_BEFORE_WORD = re.compile(r"(?:[\s(]|--[^\n\r]*)*+")
_COMMENT_MARK = re.compile(r"/\*|\*/")
_WORD = re.compile(r"\w*")
_QUERIES = frozenset({"select", "values", "table", "with"})


_PARTLY_READABLE = """
SELECT c.relname, c.oid::regclass::text, string_agg(a.attname, ', ' ORDER BY a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND has_any_column_privilege(c.oid, 'SELECT')
    AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')
GROUP BY c.oid ORDER BY 2
"""


@dataclass(frozen=True)
class Answer:
    """The columns' names, and an iterator of the rows."""

    names: Sequence[str]
    rows: Iterator[Sequence[Any]]


@contextmanager
def answering(url: URL, query: str, seconds: float) -> Iterator[Answer]:
    """Yield the answer to a query; query and block together may take ``seconds`` at most.

    ``WarehouseError`` if the text is no query, fails, or takes longer; ``DatabaseUnavailable`` without a connection.
    """
    _check_is_query(query)
    ends_at = time.monotonic() + seconds
    with _connected(url, seconds) as connection:
        try:
            with _in_our_words(connection):
                connection.read_only = True
                # Plan for all rows, not only for the first ones, which is the default for cursors.
                connection.execute("SELECT set_config('cursor_tuple_fraction', '1', true)")
                _limit(connection, ends_at)
                with connection.cursor(name=CURSOR) as cursor:
                    # The driver declares a cursor by the extended protocol, which accepts one statement only.
                    cursor.execute(query.encode())
                    names = [column.name for column in cursor.description or ()]
                    set_json_loads(_small_json, connection)
                    with closing(_rows(connection, ends_at)) as rows:
                        yield Answer(names, rows)
        finally:
            connection.close()  # in any state


@contextmanager
def _in_our_words(connection: psycopg.Connection[Any]) -> Iterator[None]:
    try:
        try:
            yield
        except InsufficientPrivilege as error:
            reason = _in_one_line(error)
            raise WarehouseError(f"the query failed: {reason}{_hidden_columns(connection, reason)}") from None
    except (psycopg.Error, UnicodeError) as error:
        raise WarehouseError(f"the query failed: {_in_one_line(error)}") from None


def _hidden_columns(connection: psycopg.Connection[Any], reason: str) -> str:
    """Advice on a table of which this login may read only some columns, if the refusal names one."""
    connection.rollback()
    words = set(re.findall(r"\w+", reason))
    told = [
        f": {table} has hidden columns ({hidden}), name the columns you want"
        for name, table, hidden in connection.execute(_PARTLY_READABLE).fetchall()
        if name in words
    ]
    return "".join(told)


def _check_is_query(query: str) -> None:
    """Refuse other statements with a clear message; the guarantee is the cursor's."""
    word = _first_word(query)
    if word.lower() not in _QUERIES:
        raise WarehouseError(
            f"the query failed: sql runs one SELECT, VALUES, TABLE or WITH, and {word.upper()[:20] or 'this'} is none"
        )


def _first_word(query: str) -> str:
    """The first word after white space, brackets and comments; comments may be nested."""
    position = _end(_BEFORE_WORD, query, 0)
    while query.startswith("/*", position):
        position = _end(_BEFORE_WORD, query, _end_of_comment(query, position))
    return query[position : _end(_WORD, query, position)]


def _end_of_comment(query: str, begin: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(query, begin):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(query)


def _end(pattern: re.Pattern[str], query: str, begin: int) -> int:
    found = pattern.match(query, begin)
    return found.end() if found else begin


@contextmanager
def _connected(url: URL, seconds: float) -> Iterator[psycopg.Connection[Any]]:
    settings = {
        "TimeZone": "UTC",
        "lock_timeout": str(LOCK_MILLISECONDS),
        # An open transaction, such as one whose rows wait for a pager, keeps VACUUM from cleaning the tables.
        "idle_in_transaction_session_timeout": str(int(seconds * 1000)),
    }
    ours = NETWORK_LIMITS | {"connect_timeout": str(CONNECT_SECONDS), "application_name": application_name("sql")}
    try:
        connection = connect(ours | connection_parameters(url), settings)
    except psycopg.OperationalError as error:
        raise database_unavailable_error(url, error) from None
    with connection:
        yield connection


def _rows(connection: psycopg.Connection[Any], ends_at: float) -> Generator[Sequence[Any]]:
    """Each row as it arrives; only one row is in memory at a time."""
    count = 1
    while True:
        # Set anew before each fetch: the query may have changed the setting.
        _limit(connection, ends_at)
        found = size = 0
        stream = connection.cursor().stream(_FETCH.format(count, Identifier(CURSOR)))
        # Closed at once when the caller stops: an open stream keeps the connection from running anything else.
        with closing(cast("Generator[Any]", stream)) as rows:
            for row in rows:
                found += 1
                size = _characters(row)
                _check_size(size)
                yield row
        if found < count:
            return
        count = max(1, min(ROWS_AT_ONCE, count * GROWTH, CHARACTERS_AT_ONCE // (1 + size)))


def _characters(row: Sequence[Any]) -> int:
    return sum([len(value if isinstance(value, str) else str(value)) for value in row])


def _check_size(characters: int) -> None:
    if characters > CHARACTERS_IN_ROW:
        raise WarehouseError(
            f"the query failed: a row has {characters:,} characters, and sql prints {CHARACTERS_IN_ROW:,} at most:"
            " select less of it"
        )


def _small_json(text: str | bytes) -> Any:
    # Checked before parsing: the objects take many times the memory.
    _check_size(len(text))
    return json.loads(text)


def _limit(connection: psycopg.Connection[Any], ends_at: float) -> None:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise WarehouseError("the query failed: it took longer than --timeout allows")
    milliseconds = max(1, int(left * 1000))
    connection.execute(SQL("SELECT pg_catalog.set_config('statement_timeout', {0}, true)").format(str(milliseconds)))


def _in_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@dataclass
class Cut:
    """The first rows, at most ``row_count``, with at most ``characters`` in all, but at least one row.

    ``is_short`` becomes true once rows were left out.
    """

    rows: Iterator[Sequence[Any]]
    row_count: int
    characters: int
    is_short: bool = False

    def __iter__(self) -> Iterator[Sequence[Any]]:
        room = self.characters
        for number, row in enumerate(self.rows):
            room -= _characters(row)
            if number >= self.row_count or (room < 0 and number):
                self.is_short = True
                return
            yield row
