"""Finds the tables that hold data of athletes, by the database's catalog, so that none is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import BigInteger, ColumnElement, Connection, TableClause, and_, column, table, text

from strava_pipeline.warehouse.schema import ops_schema, tables
from strava_pipeline.warehouse.schema.columns import any_of

ATHLETE, ACTIVITY = "athlete_id", "activity_id"
# Rows that name an athlete, but hold no data of theirs: audits, counts of calls and mails, who used which invitation,
# alerts, which have to be told when they end, and the mark itself. The journal's rows and the locks are deleted when
# the erasure is decided.
KEPT_OPS_TABLES = frozenset(
    {"users", "erasures", "token_audit", "token_journal", "api_calls", "confirmation_mails", "locks", "invites"}
    | {"alerts"}
)
_KEYS = text(
    "SELECT s.nspname, t.relname, a.attname, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid"
    " AND i.indkey[0] = a.attnum AND i.indpred IS NULL AND i.indisvalid)"
    " FROM pg_class t JOIN pg_namespace s ON s.oid = t.relnamespace JOIN pg_attribute a ON a.attrelid = t.oid"
    " WHERE t.relkind IN ('r', 'p') AND s.nspname IN (:data, :ops) AND a.attname IN (:athlete, :activity)"
    " ORDER BY s.nspname, t.relname, a.attname"
)


@dataclass(frozen=True)
class OwnedTable:
    """A table that names athletes or activities; ``indexed``: by such a column, whether an index begins with it."""

    target: TableClause
    indexed: Mapping[str, bool]

    @property
    def names_athlete(self) -> bool:
        return ATHLETE in self.indexed

    @property
    def names_activity(self) -> bool:
        return ACTIVITY in self.indexed

    @property
    def is_searched_by_athlete(self) -> bool:
        """Whether an athlete's rows are looked for by the athlete; otherwise they are found by their activities."""
        return self.names_athlete and (self.indexed[ATHLETE] or not self.indexed.get(ACTIVITY, False))

    def of_athlete(self, athlete_id: int) -> ColumnElement[bool]:
        """The condition for an athlete's rows."""
        return column(ATHLETE, BigInteger) == athlete_id

    def of_activities(self, athlete_id: int, activity_ids: list[int]) -> ColumnElement[bool]:
        """The condition for an athlete's rows about these activities."""
        theirs = any_of(column(ACTIVITY, BigInteger), activity_ids)
        return and_(theirs, self.of_athlete(athlete_id)) if self.names_athlete else theirs


def owned_tables(connection: Connection) -> list[OwnedTable]:
    """Return the tables with data of athletes, but for ``activities`` and ``athletes``, which are deleted by id."""
    names = {"data": tables.SCHEMA, "ops": ops_schema.SCHEMA, "athlete": ATHLETE, "activity": ACTIVITY}
    rows = connection.execute(_KEYS, names).all()
    return [
        OwnedTable(table(name, schema=schema), {row[2]: row[3] for row in keys})
        for (schema, name), keys in groupby(rows, key=lambda row: (row[0], row[1]))
        if not (schema == ops_schema.SCHEMA and name in KEPT_OPS_TABLES)
        and (schema, name) != (tables.SCHEMA, tables.activities.name)
    ]
