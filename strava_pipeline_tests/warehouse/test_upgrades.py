"""A bridge goes on with tables of later versions: revisions only add to what it reads and writes.

Changes that take something away from analysts are told in the changelog.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, make_url

from strava_pipeline.warehouse import migrate as migration
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.locks import acquire_for_migration
from strava_pipeline.warehouse.migrate import REVISIONS
from strava_pipeline_tests.warehouse.narrowing import narrowed, shape_of

# Bridges from this revision on go on with the tables of later ones.
FIRST = "0042"
CHANGELOG = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
TABLE = """
CREATE TABLE ops.parts (
    id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'new', amount integer, note character varying,
    CONSTRAINT ck_parts_state CHECK (state IN ('new', 'done'))
)
"""
CHANGED_CHECK = """
ALTER TABLE ops.parts DROP CONSTRAINT ck_parts_state, ADD CONSTRAINT ck_parts_state CHECK (state IN """


@pytest.fixture
def old(empty_database: str) -> Iterator[Engine]:
    engine = open_engine(make_url(empty_database))
    yield engine
    engine.dispose()


def upgrade(connection: Connection, before: str, target: str) -> None:
    acquire_for_migration(connection, migration.VERSION_SCHEMA, migration.VERSION_TABLE)
    migration._upgrade(connection, before, target)


def test_no_revision_takes_away_what_a_bridge_reads_or_writes(old: Engine) -> None:
    """One that has to begins a new thousand, and its release notes tell to stop the bridges first."""
    with old.begin() as connection:
        upgrade(connection, "", FIRST)
    for before, revision in pairwise(REVISIONS[REVISIONS.index(FIRST) :]):
        with old.begin() as connection:
            known = {schema: shape_of(connection, schema) for schema in ("ops", "strava")}
            upgrade(connection, before, revision)
            lost = {schema: list(narrowed(shape, shape_of(connection, schema))) for schema, shape in known.items()}
        assert revision[0] != before[0] or lost["ops"] == [], revision
        untold = [what for what in lost["strava"] if f"strava.{what.partition(':')[0]}" not in CHANGELOG]
        assert untold == [], f"{revision}: tell analysts in the changelog"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE ops.parts ADD COLUMN colour text",
        "ALTER TABLE ops.parts ADD COLUMN colour text NOT NULL DEFAULT 'red'",
        "ALTER TABLE ops.parts ADD COLUMN size integer CHECK (size > 0)",
        "ALTER TABLE ops.parts ALTER COLUMN amount TYPE bigint",
        "ALTER TABLE ops.parts ALTER COLUMN note TYPE text",
        "ALTER TABLE ops.parts ALTER COLUMN state DROP NOT NULL",
        "ALTER TABLE ops.parts DROP CONSTRAINT ck_parts_state",
        CHANGED_CHECK + "('new', 'resting', 'done'))",
        "CREATE INDEX ON ops.parts (amount)",
        "CREATE TABLE ops.wheels (id bigint PRIMARY KEY, part_id bigint NOT NULL)",
        "COMMENT ON COLUMN ops.parts.amount IS 'how many'",
    ],
)
def test_what_only_adds_is_allowed(old: Engine, statement: str) -> None:
    assert lost_by(old, statement) == []


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE ops.parts", "parts: is gone"),
        ("ALTER TABLE ops.parts RENAME TO pieces", "parts: is gone"),
        ("ALTER TABLE ops.parts DROP COLUMN amount", "parts.amount: is gone"),
        ("ALTER TABLE ops.parts RENAME COLUMN amount TO quantity", "parts.amount: is gone"),
        ("ALTER TABLE ops.parts ADD COLUMN colour text NOT NULL", "parts.colour: is new, needed, and has no default"),
        ("ALTER TABLE ops.parts ALTER COLUMN amount TYPE smallint", "parts.amount: is smallint, was integer"),
        ("ALTER TABLE ops.parts ALTER COLUMN amount SET NOT NULL", "parts.amount: may no longer be empty"),
        ("ALTER TABLE ops.parts ALTER COLUMN state DROP DEFAULT", "parts.state: has no default any more"),
        ("ALTER TABLE ops.parts ADD CHECK (amount > 0)", "parts.parts_amount_check: allows less"),
        (
            CHANGED_CHECK + "('new', 'resting'))",
            "parts.ck_parts_state: allows less",
        ),
        ("CREATE UNIQUE INDEX ix_parts_note ON ops.parts (note)", "parts.ix_parts_note: allows less"),
        (
            "ALTER TABLE ops.parts DROP CONSTRAINT parts_pkey",
            "parts.parts_pkey: is gone, by which rows are found to be there",
        ),
        ("DROP SEQUENCE ops.numbers", "numbers: is gone"),
        ("DROP FUNCTION ops.one()", "ops.one(): is gone"),
    ],
)
def test_what_takes_something_away_is_found(old: Engine, statement: str, lost: str) -> None:
    assert lost in lost_by(old, statement)


def lost_by(engine: Engine, statement: str) -> list[str]:
    with engine.begin() as connection:
        for making in (
            "CREATE SCHEMA ops",
            TABLE,
            "CREATE SEQUENCE ops.numbers",
            "CREATE FUNCTION ops.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        ):
            connection.exec_driver_sql(making)
        before = shape_of(connection, "ops")
        connection.exec_driver_sql(statement)
        return list(narrowed(before, shape_of(connection, "ops")))
