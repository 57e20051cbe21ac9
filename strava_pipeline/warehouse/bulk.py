"""Many rows at once: COPY into a temporary table, then one INSERT ... ON CONFLICT."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from psycopg import Connection as PsycopgConnection
from psycopg import OperationalError
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.warehouse.engine import away

Row = Mapping[str, Any]


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    newer_by: str | None = None,
    only_new: Collection[str] = (),
) -> int:
    """Insert rows or update those whose key is there; returns how many were written.

    All rows have the same columns; columns they lack keep what is stored, and so do the columns in
    ``only_new``. With ``newer_by`` a stored row whose value in that column is later stays as it is.
    Of several rows with one key the last counts.
    """
    if not rows:
        return 0
    keys = [column.name for column in table.primary_key]
    distinct = list({tuple(row[key] for key in keys): row for row in rows}.values())
    try:
        return _copy_and_merge(connection, table, distinct, newer_by, only_new)
    except OperationalError as error:
        # The driver is used directly here, so the engine does not get to translate its errors.
        raise away(connection.engine.url, error) from error


def replace_children(connection: Connection, table: Table, activity_ids: Iterable[int], rows: Sequence[Row]) -> None:
    """Make the rows of these activities in a child table exactly ``rows``."""
    connection.execute(table.delete().where(table.c.activity_id.in_(list(activity_ids))))
    upsert(connection, table, rows)


def _copy_and_merge(
    connection: Connection, table: Table, rows: Sequence[Row], newer_by: str | None, only_new: Collection[str]
) -> int:
    columns = list(rows[0])
    driver = driver_of(connection)
    staging = Identifier(f"staging_{table.name}")
    target = Identifier(str(table.schema), table.name)
    names = SQL(", ").join(map(Identifier, columns))
    arrays = {column.name for column in table.columns if isinstance(column.type, ARRAY)}
    with driver.cursor() as cursor:
        cursor.execute(SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(staging, names, target))
        with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(staging, names)) as copy:
            for row in rows:
                copy.write_row([_literal(row[name]) if name in arrays else row[name] for name in columns])
        cursor.execute(
            SQL("INSERT INTO {target} AS stored ({names}) SELECT {names} FROM {staging} {conflict}").format(
                target=target,
                names=names,
                staging=staging,
                conflict=_on_conflict(table, columns, newer_by, only_new),
            )
        )
        written = cursor.rowcount
        cursor.execute(SQL("DROP TABLE {}").format(staging))
    return written


def _literal(series: Sequence[Any] | None) -> str | None:
    """An array of numbers or flags in Postgres' notation, which but for its brackets is that of JSON.

    The driver's own conversion takes a call per element, and streams have thousands of them.
    """
    return None if series is None else f"{{{json.dumps(series)[1:-1]}}}"


def _on_conflict(table: Table, columns: Sequence[str], newer_by: str | None, only_new: Collection[str]) -> Composable:
    keys = [column.name for column in table.primary_key]
    changes = SQL(", ").join(
        SQL("{0} = excluded.{0}").format(Identifier(name))
        for name in columns
        if name not in keys and name not in only_new
    )
    conflict = SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(SQL(", ").join(map(Identifier, keys)), changes)
    if newer_by is None:
        return conflict
    return SQL("{} WHERE stored.{field} <= excluded.{field}").format(conflict, field=Identifier(newer_by))


def driver_of(connection: Connection) -> PsycopgConnection[Any]:
    """The psycopg connection underneath, for what SQLAlchemy has no words for."""
    driver: PsycopgConnection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # the engine is psycopg's
    return driver
