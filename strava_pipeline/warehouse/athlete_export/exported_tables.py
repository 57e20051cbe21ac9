"""Finds the tables of an export by the database's catalog, so that a table added later is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import Connection, text

from strava_pipeline.warehouse.access.rights import is_hidden
from strava_pipeline.warehouse.athlete_export.layout import (
    BODY,
    DATA,
    NOT_SECRET,
    OPS,
    RECORDING_BYTES,
    UNDER_WAY,
)
from strava_pipeline.warehouse.athletes.owned_tables import owned_tables
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import driver_errors

SEGMENTS: Final = f"{DATA}.segments"
ATHLETES: Final = f"{DATA}.athletes"
ACTIVITIES: Final = f"{DATA}.activities"
# Of a piece of a table that is read at once: a row of samples may have megabytes.
_PIECE_CHARACTERS: Final = 2**20
_LARGEST_PIECE: Final = 1000
_COLUMNS = text(
    "SELECT a.attname, format_type(a.atttypid, NULL), pg_get_serial_sequence(:table, a.attname),"
    " array_position(CAST(i.indkey AS int2[]), a.attnum)"
    " FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
    " WHERE a.attrelid = CAST(:table AS regclass) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)


@dataclass(frozen=True)
class ExportedColumn:
    """A column and its type, as Postgres names it; ``sequence``: that numbers the rows, if one does."""

    name: str
    kind: str
    sequence: str | None = None


@dataclass(frozen=True)
class ExportedTable:
    """A table of which an athlete has rows; ``key``: its primary key; ``has_all``: no column is left out as a secret.

    ``columns``: those that are exported as JSON.
    """

    schema: str
    name: str
    columns: tuple[ExportedColumn, ...]
    key: tuple[str, ...]
    has_all: bool

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def target(self) -> Identifier:
        return Identifier(self.schema, self.name)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def numbered(self) -> ExportedColumn | None:
        """The column that a sequence numbers; ``None`` if there is none."""
        return next((column for column in self.columns if column.sequence), None)

    @property
    def owner(self) -> str | None:
        """The column that names the athlete; ``None`` for tables that do not."""
        if self.full_name == ATHLETES:
            return "id"
        return "athlete_id" if "athlete_id" in self.names else None

    @property
    def activity(self) -> str | None:
        """The column that names the activity, if there is one."""
        if self.full_name == ACTIVITIES:
            return "id"
        return "activity_id" if "activity_id" in self.names else None

    @property
    def condition(self) -> Composable:
        """The condition, with one parameter, for an athlete's rows."""
        if self.owner is not None:
            return SQL("{} = %s").format(Identifier(self.owner))
        if self.full_name == SEGMENTS:
            return SQL("id IN (SELECT segment_id FROM strava.segment_efforts WHERE athlete_id = %s)")
        return SQL("activity_id IN (SELECT id FROM strava.activities WHERE athlete_id = %s)")


def exported_tables(connection: Connection) -> list[ExportedTable]:
    """Return all tables with data of athletes, sorted by name; those about work under way are none of them."""
    owned = {f"{each.target.schema}.{each.target.name}" for each in owned_tables(connection)}
    names = (owned | {ATHLETES, ACTIVITIES, SEGMENTS}) - UNDER_WAY.keys()
    return [_described(connection, name) for name in sorted(names)]


def _described(connection: Connection, full_name: str) -> ExportedTable:
    schema, _, name = full_name.partition(".")
    found = connection.execute(_COLUMNS, {"table": full_name}).all()
    columns = [ExportedColumn(row[0], row[1], row[2]) for row in found]
    open_columns = [each for each in columns if not _is_secret(schema, name, each.name)]
    shown = [each for each in open_columns if (full_name, each.name) != (RECORDING_BYTES, BODY)]
    key = sorted((row for row in found if row[3] is not None), key=lambda row: row[3])
    return ExportedTable(
        schema, name, tuple(shown), tuple(row[0] for row in key), has_all=len(open_columns) == len(columns)
    )


def _is_secret(schema: str, table: str, column: str) -> bool:
    return schema == OPS and is_hidden(column) and f"{schema}.{table}.{column}" not in NOT_SECRET


def json_rows(connection: Connection, table: ExportedTable, athlete_id: int) -> Iterator[str]:
    """An athlete's rows, each as one line of JSON without its end, by the primary key.

    JSON within a row is a text, which stays as it is to the last blank. Reads pieces that fit into little memory.
    """
    shown = [
        SQL("{0}::text AS {0}" if column.kind in {"json", "jsonb"} else "{}").format(Identifier(column.name))
        for column in table.columns
    ]
    query = SQL("SELECT row_to_json(found)::text FROM (SELECT {} FROM {} WHERE {} ORDER BY {}) AS found").format(
        SQL(", ").join(shown), table.target, table.condition, SQL(", ").join(map(Identifier, table.key))
    )
    with driver_errors(connection), driver_of(connection).cursor(name="athlete_export") as cursor:
        cursor.execute(query, (athlete_id,))
        size = 1
        while piece := cursor.fetchmany(size):
            yield from (row[0] for row in piece)
            longest = max(len(row[0]) for row in piece)
            size = max(1, min(_LARGEST_PIECE, 2 * size, _PIECE_CHARACTERS // longest))


def count_rows(connection: Connection, table: ExportedTable, athlete_id: int) -> int:
    """The number of an athlete's rows."""
    query = SQL("SELECT count(*) FROM {} WHERE {}").format(table.target, table.condition)
    with driver_errors(connection):
        found: Any = driver_of(connection).execute(query, (athlete_id,)).fetchone()
    return int(found[0])
