"""What a revision takes away from programs that know the tables as they were before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

# A type whose values another one takes, too.
WIDER = {
    "smallint": {"integer", "bigint", "double precision"},
    "integer": {"bigint", "double precision"},
    "real": {"double precision"},
    "character varying": {"text"},
}
_LITERAL = re.compile(r"'((?:[^']|'')*)'")

_RELATIONS = """
SELECT relname, relkind::text FROM pg_class WHERE relnamespace = CAST(:schema AS regnamespace)
    AND relkind IN ('r', 'p', 'S')
UNION ALL
SELECT p.oid::regprocedure::text, 'function' FROM pg_proc AS p WHERE pronamespace = CAST(:schema AS regnamespace)
"""
_COLUMNS = """
SELECT relname, attname, format_type(atttypid, NULL) AS type, attnotnull,
    atthasdef OR attidentity <> '' AS has_default
FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
"""
_RULES = """
SELECT relname, conname AS name, pg_get_constraintdef(r.oid) AS says,
    (SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)) AS columns
FROM pg_constraint AS r JOIN pg_class AS c ON c.oid = conrelid
WHERE relnamespace = CAST(:schema AS regnamespace) AND contype IN ('c', 'f')
UNION ALL
SELECT t.relname, i.relname, pg_get_indexdef(indexrelid),
    (SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = indrelid AND attnum = ANY (indkey))
FROM pg_index JOIN pg_class AS t ON t.oid = indrelid JOIN pg_class AS i ON i.oid = indexrelid
WHERE t.relnamespace = CAST(:schema AS regnamespace) AND indisunique
"""


@dataclass(frozen=True)
class Column:
    """A column, as far as a program that writes rows depends on it."""

    type: str
    is_needed: bool
    has_default: bool


@dataclass(frozen=True)
class Rule:
    """A check, a foreign key or a unique index, and the columns that it is about."""

    says: str
    columns: frozenset[str]


@dataclass(frozen=True)
class Shape:
    """A schema: its tables, sequences and functions; columns and rules by table and name."""

    relations: frozenset[tuple[str, str]]
    columns: Mapping[tuple[str, str], Column]
    rules: Mapping[tuple[str, str], Rule]


def shape_of(connection: Connection, schema: str) -> Shape:
    """Read the shape of a schema."""

    def rows(query: str) -> list[Any]:
        return list(connection.execute(text(query), {"schema": schema}))

    return Shape(
        frozenset((name, kind) for name, kind in rows(_RELATIONS)),
        {(row.relname, row.attname): Column(row.type, row.attnotnull, row.has_default) for row in rows(_COLUMNS)},
        {(row.relname, row.name): Rule(row.says, frozenset(row.columns or ())) for row in rows(_RULES)},
    )


def narrowed(before: Shape, after: Shape) -> Iterator[str]:
    """What a program that knows the shape before can no longer read or write; each names table, and column or rule."""
    for name, _ in sorted(before.relations - after.relations):
        yield f"{name}: is gone"
    kept = {name for name, _ in before.relations & after.relations}
    for (table, name), old in before.columns.items():
        if table in kept:
            yield from _narrowed_column(f"{table}.{name}", old, after.columns.get((table, name)))
    for (table, name), new in after.columns.items():
        if table in kept and (table, name) not in before.columns and new.is_needed and not new.has_default:
            yield f"{table}.{name}: is new, needed, and has no default"
    for (table, name), rule in before.rules.items():
        # `ON CONFLICT` names the columns of a unique index.
        if table in kept and (table, name) not in after.rules and "UNIQUE" in rule.says:
            yield f"{table}.{name}: is gone, by which rows are found to be there"
    for (table, name), rule in after.rules.items():
        known = {column for of, column in before.columns if of == table}
        if table in kept and rule.columns & known and not _allows_as_much(before.rules.get((table, name)), rule):
            yield f"{table}.{name}: allows less"


def _narrowed_column(name: str, old: Column, new: Column | None) -> Iterator[str]:
    if new is None:
        yield f"{name}: is gone"
        return
    if new.type != old.type and new.type not in WIDER.get(old.type, set()):
        yield f"{name}: is {new.type}, was {old.type}"
    if new.is_needed and not old.is_needed:
        yield f"{name}: may no longer be empty"
    if old.has_default and new.is_needed and not new.has_default:
        yield f"{name}: has no default any more"


def _allows_as_much(old: Rule | None, new: Rule) -> bool:
    """Whether a rule is as before, or has the same form and more words that it allows."""
    if old is None:
        return False
    words = set(_LITERAL.findall(old.says)), set(_LITERAL.findall(new.says))
    return old.says == new.says or (words[0] < words[1] and _form(old) == _form(new))


def _form(rule: Rule) -> str:
    return re.sub(r"(\?(::text)?(, )?)+", "?", _LITERAL.sub("?", rule.says))
