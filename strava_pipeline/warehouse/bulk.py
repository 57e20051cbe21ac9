"""Many rows at once: COPY into a temporary table, then one INSERT ... ON CONFLICT."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from psycopg import Connection as PsycopgConnection
from psycopg import Cursor, OperationalError
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from strava_pipeline.warehouse.columns import among
from strava_pipeline.warehouse.engine import away
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.tables import athletes

Row = Mapping[str, Any]


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    newer_by: str | None = None,
    only_new: Collection[str] = (),
    rewrite_same: bool = True,
) -> int:
    """Insert rows or update those whose key is there; returns how many were written.

    All rows have the same columns; columns they lack keep what is stored, and so do the columns in
    ``only_new``. With ``newer_by`` a stored row whose value in that column is later stays as it is.
    Without ``rewrite_same`` so does one that would change in nothing but the column ``newer_by``.
    Of several rows with one key the last counts. ``NeedsReauthorization`` for rows of an athlete who has disconnected.
    """
    if not rows:
        return 0
    keys = [column.name for column in table.primary_key]
    distinct = list({tuple(row[key] for key in keys): row for row in rows}.values())
    refuse_rows_of_revoked(connection, _owners(table, distinct))
    try:
        return _copy_and_merge(
            connection,
            table,
            distinct,
            _on_conflict(table, list(rows[0]), newer_by, only_new, rewrite_same=rewrite_same),
        )
    except OperationalError as error:
        # The driver is used directly here, so the engine does not get to translate its errors.
        raise away(connection.engine.url, error) from error


def append(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Copy rows into a table that has none of their keys; whether their athlete is connected was checked before."""
    if not rows:
        return
    try:
        with driver_of(connection).cursor() as cursor:
            _copy(cursor, Identifier(str(table.schema), table.name), table, rows)
    except OperationalError as error:
        raise away(connection.engine.url, error) from error


def replace_children(connection: Connection, table: Table, activity_ids: Iterable[int], rows: Sequence[Row]) -> None:
    """Make the rows of these activities in a child table exactly ``rows``."""
    connection.execute(table.delete().where(among(table.c.activity_id, activity_ids)))
    upsert(connection, table, rows)


def _copy_and_merge(connection: Connection, table: Table, rows: Sequence[Row], conflict: Composable) -> int:
    columns = list(rows[0])
    driver = driver_of(connection)
    staging = Identifier(f"staging_{table.name}")
    target = Identifier(str(table.schema), table.name)
    names = SQL(", ").join(map(Identifier, columns))
    with driver.cursor() as cursor:
        cursor.execute(SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(staging, names, target))
        _copy(cursor, staging, table, rows)
        cursor.execute(
            SQL("INSERT INTO {target} AS stored ({names}) SELECT {names} FROM {staging} {conflict}").format(
                target=target,
                names=names,
                staging=staging,
                conflict=conflict,
            )
        )
        written = cursor.rowcount
        cursor.execute(SQL("DROP TABLE {}").format(staging))
    return written


def _owners(table: Table, rows: Sequence[Row]) -> set[int]:
    """The athletes whose rows these are; none for what belongs to nobody."""
    owner = "id" if table is athletes else "athlete_id"
    return {row[owner] for row in rows if owner in row}


def _copy(cursor: Cursor[Any], target: Identifier, table: Table, rows: Sequence[Row]) -> None:
    columns = list(rows[0])
    arrays = [place for place, name in enumerate(columns) if isinstance(table.c[name].type, ARRAY)]
    in_order = itemgetter(*columns)
    names = SQL(", ").join(map(Identifier, columns))
    with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(target, names)) as copy:
        for row in rows:
            values = list(in_order(row))
            for place in arrays:
                values[place] = _literal(values[place])
            copy.write_row(values)


def _literal(series: Sequence[Any] | None) -> str | None:
    """An array of numbers or flags in Postgres' notation, which but for its brackets is that of JSON.

    The driver's own conversion takes a call per element, and streams have thousands of them.
    """
    return None if series is None else f"{{{json.dumps(series)[1:-1]}}}"


def _on_conflict(
    table: Table, columns: Sequence[str], newer_by: str | None, only_new: Collection[str], *, rewrite_same: bool
) -> Composable:
    keys = [column.name for column in table.primary_key]
    changing = [name for name in columns if name not in keys and name not in only_new]
    conditions = []
    if newer_by is not None:
        conditions.append(SQL("stored.{field} <= excluded.{field}").format(field=Identifier(newer_by)))
    if not rewrite_same:
        compared = [table.c[name] for name in changing if name != newer_by]
        conditions.append(
            SQL("({}) IS DISTINCT FROM ({})").format(_values("stored", compared), _values("excluded", compared))
        )
    return SQL("ON CONFLICT ({}) DO UPDATE SET {} {}").format(
        SQL(", ").join(map(Identifier, keys)),
        SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in changing),
        SQL("WHERE {}").format(SQL(" AND ").join(conditions)) if conditions else SQL(""),
    )


def _values(side: str, columns: Sequence[Column[Any]]) -> Composable:
    """The columns of one side, in a form that can be compared: Postgres cannot tell whether two JSON values are one."""
    return SQL(", ").join(
        Identifier(side, column.name) + SQL("::text" if isinstance(column.type, JSON) else "") for column in columns
    )


def driver_of(connection: Connection) -> PsycopgConnection[Any]:
    """The psycopg connection underneath, for what SQLAlchemy has no words for."""
    driver: PsycopgConnection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # the engine is psycopg's
    return driver
