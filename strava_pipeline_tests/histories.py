"""Histories on one database, for the property tests of the tables' truth: how many, and the tables before and after."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from sqlalchemy import CTE, CompoundSelect, Engine, Select, Table, delete, func, literal, select, text, union_all

from strava_pipeline.warehouse.activities.deletion import DEPENDENT_TABLES
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import tombstones
from strava_pipeline.warehouse.schema.tables import activities, metadata

# A profile of its own, and how many histories a run of it takes: some minutes' worth.
SOAK = "soak"
SOAKED = 500
# A history that fails is short enough to be read; making it shorter would take minutes.
PHASES = (Phase.explicit, Phase.generate)
ACTIVITY_TABLES = (activities, *DEPENDENT_TABLES)
EMPTIED = (*ACTIVITY_TABLES, tombstones, webhook_events)
# Postgres cleans up by itself nowhere in these tests, and every query reads through the rows of earlier histories.
VACUUM_EVERY = 50


def histories(number: int) -> settings:
    """Settings of a test of that many histories; in a soak the profile says how many."""
    soaking = settings.get_current_profile_name() == SOAK
    return settings(
        max_examples=settings().max_examples if soaking else number,
        phases=PHASES,
        # The tables are emptied for each history. How fast a machine is says nothing about them.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def all_at_once(changes: Sequence[CTE]) -> Select[int]:
    """One statement that makes all these changes."""
    return select(literal(1)).add_cte(*changes)


EMPTYING = all_at_once([delete(table).cte(f"gone_{table.name}") for table in (*EMPTIED, changed_months, month_checks)])


class HistoryTables:
    """The tables of activities and their events, which are emptied before each history."""

    def __init__(self, engine: Engine, owner_engine: Engine) -> None:
        self._engine = engine
        self._owner_engine = owner_engine
        self._times = 0

    def empty(self) -> None:
        """Empty them, in one trip to the server."""
        self._times += 1
        if self._times % VACUUM_EVERY == 0:
            with autocommit(self._owner_engine) as connection:
                names = ", ".join(str(table) for table in metadata.sorted_tables)
                connection.execute(text(f"VACUUM {names}"))
        with self._engine.begin() as connection:
            connection.execute(EMPTYING)


def contents(
    engine: Engine, tables: tuple[Table, ...], *, without: Collection[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Return all rows by table, as JSON holds them and in a certain order, but for the columns ``without``."""
    found: dict[str, list[dict[str, Any]]] = {table.name: [] for table in tables}
    with autocommit(engine) as connection:
        for name, row in connection.execute(_all_rows(tables)):
            found[name].append({key: value for key, value in row.items() if key not in without})
    return {name: sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) for name, rows in found.items()}


@lru_cache
def _all_rows(tables: tuple[Table, ...]) -> CompoundSelect[str, Any]:
    return union_all(*[select(literal(table.name), func.to_jsonb(table.table_valued())) for table in tables])
