"""Watches which tables the statements of a function read as a whole, by the plans that Postgres makes for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Cursor
from sqlalchemy import Connection, Engine, event, text

LEADING_COLUMNS = "SELECT relname, pg_get_indexdef(indexrelid, 1, true) FROM pg_index JOIN pg_class ON oid = indexrelid"
EXPLAINED = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True)
class Plan:
    """A statement, and what its plan reads as a whole: tables by a sequential scan, indexes without a condition."""

    statement: str
    whole: tuple[str, ...]


@contextmanager
def watched_plans(engine: Engine) -> Iterator[list[Plan]]:
    """Collect the plan of each statement that the engine executes in the block, made right before it is executed."""
    plans: list[Plan] = []
    with engine.connect() as connection:
        leading = {row[0]: row[1] for row in connection.execute(text(LEADING_COLUMNS))}

    def explain(_: object, cursor: Cursor[Any], statement: str, given: Any, __: object, many: bool) -> None:
        if statement.lstrip().upper().startswith(EXPLAINED):
            query = f"EXPLAIN (FORMAT JSON) {statement}".encode()
            explained = cursor.connection.execute(query, given[0] if many else given)
            [(found,)] = explained.fetchall()
            plans.append(Plan(statement, tuple(_read_as_a_whole(found[0]["Plan"], leading))))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def large_relations(connection: Connection, rows: int) -> set[str]:
    """The names of our tables and indexes that have more rows, as the last ANALYZE saw them."""
    query = (
        "SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
        " WHERE nspname IN ('strava', 'ops') AND relkind IN ('r', 'i') AND reltuples > :rows"
    )
    return set(connection.execute(text(query), {"rows": rows}).scalars())


def _read_as_a_whole(node: dict[str, Any], leading: Mapping[str, str], *, limited: bool = False) -> Iterator[str]:
    """What a node and those below it read; ``limited``: no more rows are asked for than a limit says.

    ``leading``: the first column of each index. A condition on others alone is looked for in the whole index.
    """
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield node["Relation Name"]
    # A condition reads as in ((athlete_id = 1) AND (start_date < a.start_date)).
    elif (index := node.get("Index Name")) and not limited and f"({leading[index]} " not in node.get("Index Cond", ""):
        yield index
    # What passes rows on as they come.
    limited = kind == "Limit" or (limited and kind in {"Nested Loop", "LockRows", "Result", "Subquery Scan"})
    for place, child in enumerate(node.get("Plans", ())):
        yield from _read_as_a_whole(child, leading, limited=limited and (place == 0 or kind != "Nested Loop"))
