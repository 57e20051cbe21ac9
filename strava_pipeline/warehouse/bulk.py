"""Writes many rows of one table at once.

Up to ``FEW`` rows go with one INSERT ... ON CONFLICT. More rows go by binary COPY, which costs client and server half
as much: rows known to be new go straight into the table, the others into a temporary table, and from there into the
table by INSERT ... ON CONFLICT.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from psycopg import Connection as PsycopgConnection
from psycopg import Cursor, RawCursor
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.postgresql import ARRAY, JSON, dialect

from strava_pipeline.warehouse.binary_arrays import BinaryArray, let_send
from strava_pipeline.warehouse.engine import driver_errors
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.tables import activities, activity_streams, athletes

Row = Mapping[str, Any]
Key = tuple[Any, ...]
STAMPS = ("fetched_at", "streams_fetched_at")
# What was handed in is stamped with the day it tells of; of Strava's answers any is newer.
HANDED_IN = {str(activities): " OR NOT stored.told_by_api", str(activity_streams): " OR stored.source = 'file'"}
# Up to this many rows go as parameters: a temporary table would cost the server more, and bloat its catalog.
FEW = 50


def store_newer(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert rows, or overwrite stored rows that are not newer; return how many were written.

    Rows are compared by the table's stamp: when Strava was asked for the row, or for the data that it is computed from.
    A stored stamp that lies ahead was written before the database's clock was set back, and is not newer.
    All rows have the same columns; columns that they lack keep the stored value. Of several rows with one key the last
    counts. ``NeedsReauthorization`` for rows of an athlete who has disconnected.
    """
    refuse_rows_of_revoked(connection, _owners(table, rows))
    return _write(connection, table, _by_key(table, rows), _Rule(_stamp(table)))


def store_changed(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Do as :func:`store_newer`, but do not write a row that would change nothing but the stamp."""
    refuse_rows_of_revoked(connection, _owners(table, rows))
    return _write(connection, table, _by_key(table, rows), _Rule(_stamp(table), rewrite_same=False))


def store_under_lock(
    connection: Connection, table: Table, rows: Sequence[Row], *, keep: Collection[str] = frozenset()
) -> int:
    """Do as :func:`store_newer`, but copy new rows directly into the table.

    The caller holds a lock that keeps others from inserting rows with these keys, and has checked that the athlete is
    connected. A stored row keeps its values in the columns ``keep``.
    """
    return _write(connection, table, _by_key(table, rows), _Rule(_stamp(table), frozenset(keep)), alone=True)


def store_plainly(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or overwrite the stored rows of their keys, but for rows that are stored just so.

    The caller holds a lock that keeps others from inserting rows with these keys, and has checked that the athlete is
    connected.
    """
    _write(connection, table, _by_key(table, rows), _Rule(rewrite_same=False), alone=True)


def append(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Copy rows into a table that has none of their keys. The caller has checked that the athlete is connected."""
    if not rows:
        return
    with driver_errors(connection), driver_of(connection).cursor() as cursor:
        _copy(cursor, _target(table), table, rows)


def replace_parts(connection: Connection, activity_id: int, parts: Mapping[Table, Sequence[Row]]) -> None:
    """Replace an activity's rows in each of these tables by the given rows, in one round trip unless they are many.

    That the athlete is connected was checked when the activity was stored.
    """
    driver = driver_of(connection)
    by_key = {table: _by_key(table, rows) for table, rows in parts.items()}
    with driver_errors(connection), driver.pipeline():
        for table, rows in by_key.items():
            driver.execute(_deletion(table), (activity_id,))
            if 0 < len(rows) <= FEW:
                _insert(driver, table, list(rows.values()), _Rule())
    for table, rows in by_key.items():
        if len(rows) > FEW:
            _write(connection, table, rows, _Rule())


@dataclass(frozen=True)
class _Rule:
    """How a row is stored whose key exists already; without ``stamp`` it overwrites the stored row.

    ``keep``: columns that keep the stored value. ``rewrite_same``: whether to write a row that changes only the stamp.
    """

    stamp: str | None = None
    keep: frozenset[str] = frozenset()
    rewrite_same: bool = True


def _write(connection: Connection, table: Table, rows: Mapping[Key, Row], rule: _Rule, *, alone: bool = False) -> int:
    """Insert or update rows by key; return how many were written. ``alone``: no other process inserts these keys."""
    if not rows:
        return 0
    driver = driver_of(connection)
    with driver_errors(connection), driver.cursor() as cursor:
        if len(rows) <= FEW:
            return _insert(driver, table, list(rows.values()), rule)
        known = _known(cursor, table, rows) if alone else rows.keys()
        new = [row for key, row in rows.items() if key not in known]
        if new:
            _copy(cursor, _target(table), table, new)
        old = [row for key, row in rows.items() if key in known]
        return len(new) + (_copy_and_merge(cursor, table, old, rule) if old else 0)


def _insert(driver: PsycopgConnection[Any], table: Table, rows: Sequence[Row], rule: _Rule) -> int:
    columns = tuple(rows[0])
    head, tail = _insertion(table, columns, rule)
    # Numbered parameters, which the driver sends as they stand: it would look for its own in many kilobytes of text.
    numbers = range(1, len(rows) * len(columns) + 1)
    places = [b"$%d" % number for number in numbers]
    values = b", ".join(
        b"(" + b", ".join(places[at : at + len(columns)]) + b")" for at in range(0, len(places), len(columns))
    )
    with RawCursor(driver) as cursor:
        let_send(cursor)
        cursor.execute(head + values + tail, [value for row in _values(table, rows) for value in row])
        return cursor.rowcount


@lru_cache(maxsize=32)
def _deletion(table: Table) -> bytes:
    return SQL("DELETE FROM {} WHERE activity_id = %s").format(_target(table)).as_bytes()


@lru_cache(maxsize=256)
def _insertion(table: Table, columns: tuple[str, ...], rule: _Rule) -> tuple[bytes, bytes]:
    """What stands before and after the rows in the statement that inserts them."""
    head = SQL("INSERT INTO {} AS stored ({}) VALUES ").format(_target(table), _names(columns))
    return head.as_bytes(), SQL(" {}").format(_on_conflict(table, columns, rule)).as_bytes()


def _known(cursor: Cursor[Any], table: Table, keys: Collection[Key]) -> set[Key]:
    """Those of the keys that are in the table."""
    columns = list(table.primary_key)
    kinds = SQL(", ").join(SQL(f"%s::{column.type.compile()}[]") for column in columns)
    statement = SQL("SELECT {names} FROM {target} JOIN unnest({kinds}) AS asked ({names}) USING ({names})").format(
        names=_names([column.name for column in columns]), target=_target(table), kinds=kinds
    )
    return set(cursor.execute(statement, [list(part) for part in zip(*keys, strict=True)]))


def _copy_and_merge(cursor: Cursor[Any], table: Table, rows: Sequence[Row], rule: _Rule) -> int:
    staging, target, names = Identifier(f"staging_{table.name}"), _target(table), _names(list(rows[0]))
    cursor.execute(SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(staging, names, target))
    _copy(cursor, staging, table, rows)
    cursor.execute(
        SQL("INSERT INTO {target} AS stored ({names}) SELECT {names} FROM {staging} {conflict}").format(
            target=target, names=names, staging=staging, conflict=_on_conflict(table, list(rows[0]), rule)
        )
    )
    written = cursor.rowcount
    cursor.execute(SQL("DROP TABLE {}").format(staging))
    return written


def _by_key(table: Table, rows: Sequence[Row]) -> dict[Key, Row]:
    """Rows by their primary key; of several with one key the last."""
    keys = [column.name for column in table.primary_key]
    return {tuple(row[key] for key in keys): row for row in rows}


def _target(table: Table) -> Identifier:
    return Identifier(str(table.schema), table.name)


def _names(columns: Iterable[str]) -> Composable:
    return SQL(", ").join(map(Identifier, columns))


def _owners(table: Table, rows: Sequence[Row]) -> set[int]:
    """The ids of the athletes who own these rows; empty for tables without an owner."""
    owner = "id" if table is athletes else "athlete_id"
    return {row[owner] for row in rows if owner in row}


def _stamp(table: Table) -> str:
    """The column that orders the versions of a row."""
    return next(name for name in STAMPS if name in table.c)


def _copy(cursor: Cursor[Any], target: Identifier, table: Table, rows: Sequence[Row]) -> None:
    columns = tuple(rows[0])
    in_order = itemgetter(*columns)
    with cursor.copy(SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, _names(columns))) as copy:
        copy.set_types(_wire_types(table, columns))
        for row in rows:
            copy.write_row(in_order(row))


@lru_cache(maxsize=256)
def _wire_types(table: Table, columns: tuple[str, ...]) -> list[str]:
    """The type in which the driver sends each column; JSON goes as text, which is also its binary form in Postgres."""
    postgres = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's
    kinds = [table.c[name].type for name in columns]
    return ["text" if isinstance(kind, JSON) else kind.compile(postgres).lower() for kind in kinds]


def _values(table: Table, rows: Sequence[Row]) -> Iterator[list[Any]]:
    """The parameters for each row, with arrays as text."""
    columns = list(rows[0])
    arrays = [place for place, name in enumerate(columns) if isinstance(table.c[name].type, ARRAY)]
    in_order = itemgetter(*columns)
    for row in rows:
        values = list(in_order(row))
        for place in arrays:
            if not isinstance(values[place], BinaryArray):
                values[place] = _literal(values[place])
        yield values


def _literal(series: Sequence[Any] | None) -> str | None:
    """An array of numbers or flags in Postgres' notation, which is that of JSON with other brackets.

    The driver's own conversion makes a call per element, and streams have thousands of elements.
    """
    return None if series is None else f"{{{json.dumps(series)[1:-1]}}}"


def _on_conflict(table: Table, columns: Sequence[str], rule: _Rule) -> Composable:
    keys = [column.name for column in table.primary_key]
    changing = [name for name in columns if name not in keys and name not in rule.keep]
    conditions = []
    if rule.stamp is not None:
        is_not_newer = "(stored.{field} <= excluded.{field} OR stored.{field} > ops.clock(){handed_in})"
        handed_in = SQL(HANDED_IN.get(str(table), ""))
        conditions.append(SQL(is_not_newer).format(field=Identifier(rule.stamp), handed_in=handed_in))
    if not rule.rewrite_same:
        compared = [table.c[name] for name in changing if name != rule.stamp]
        conditions.append(
            SQL("({}) IS DISTINCT FROM ({})").format(_comparable("stored", compared), _comparable("excluded", compared))
        )
    return SQL("ON CONFLICT ({}) DO UPDATE SET {} {}").format(
        SQL(", ").join(map(Identifier, keys)),
        SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in changing),
        SQL("WHERE {}").format(SQL(" AND ").join(conditions)) if conditions else SQL(""),
    )


def _comparable(side: str, columns: Sequence[Column[Any]]) -> Composable:
    """The columns of one side in a comparable form: Postgres has no equality for JSON, so that goes as text."""
    return SQL(", ").join(
        Identifier(side, column.name) + SQL("::text" if isinstance(column.type, JSON) else "") for column in columns
    )


def driver_of(connection: Connection) -> PsycopgConnection[Any]:
    """Return the psycopg connection under ``connection``, for what SQLAlchemy cannot do."""
    driver: PsycopgConnection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # the engine is psycopg's
    return driver
