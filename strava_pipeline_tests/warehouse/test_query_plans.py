"""No query that has to stay fast with many athletes reads a whole table.

Looked at are the plans that Postgres makes, with its own statistics, for a thousand athletes with ten activities each.
The share of rows that is asked for decides between an index and a scan, and it is that of a thousand athletes: one
athlete is a thousandth, a page of 25 a fortieth. With more activities each, a scan costs as many times more, and an
index but a few steps. So what is found by an index here is found by it at a hundred times the size as well.
``python -m benchmarks.query_plans`` looks at that size, and measures times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, make_url, text

from benchmarks.many_athletes_data import FIRST_ATHLETE, Size, fill
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline_tests.conftest import new_database
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.hot_queries import HOT_QUERIES, Asked, HotQuery, asked_of
from strava_pipeline_tests.query_plans import large_relations, watched_plans

SIZE = Size(athletes=1000, activities_each=10, events_each=10, live_calls=1500)
# Fewer rows are read faster as a whole, and they are few however many activities there are.
MANY_ROWS = 5000
# Once a night, and their rows are short.
RETENTION_READS = frozenset({"import_months"})


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[Engine]:
    with new_database(server, template) as name:
        engine = open_engine(make_url(server.url(name, Login.OWNER)))
        fill(engine, SIZE)
        check_changed_months(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE ops.month_checks"))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def asked(filled: Engine) -> Asked:
    with filled.connect() as connection:
        return asked_of(connection)


@pytest.fixture(scope="module")
def large(filled: Engine) -> set[str]:
    """The tables and indexes that nobody reads as a whole."""
    with filled.connect() as connection:
        return large_relations(connection, MANY_ROWS)


@pytest.mark.parametrize("query", HOT_QUERIES, ids=lambda query: query.name)
def test_no_hot_query_reads_a_whole_table(filled: Engine, asked: Asked, large: set[str], query: HotQuery) -> None:
    with watched_plans(filled) as plans:
        query.run(filled, asked)
    assert plans
    assert query.read_as_a_whole(plans, large) == {}


def test_a_whole_batch_of_changed_months_is_found_by_index(filled: Engine) -> None:
    """Their answers are a tenth of all here, which is read faster as a whole."""
    with filled.begin() as connection:
        marking = "INSERT INTO ops.changed_months (athlete_id, month) SELECT athlete_id, max(month)"
        connection.execute(text(f"{marking} FROM ops.month_checks GROUP BY athlete_id"))
    with watched_plans(filled) as plans:
        assert check_changed_months(filled) > SIZE.athletes // 2
    read = {name for plan in plans for name in plan.whole}
    assert {name for name in read if "activities" in name} == set()


def test_an_erasure_reads_no_whole_table(filled: Engine, large: set[str]) -> None:
    last = FIRST_ATHLETE + SIZE.athletes - 1
    with watched_plans(filled) as plans:
        erased = disconnect_and_erase(filled, last, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    assert erased.rows > 40 * SIZE.activities_each
    deletions = {plan.statement for plan in plans if plan.statement.startswith("DELETE")}
    for table in ("computed_splits", "segments", "payloads", "activities"):
        assert any(f".{table} " in statement for statement in deletions), table
    assert [(name, plan.statement) for plan in plans for name in plan.whole if name in large] == []


def test_retention_deletes_without_reading_a_whole_table(filled: Engine, large: set[str]) -> None:
    with filled.connect() as connection:
        oldest = connection.execute(text("SELECT min(start_date) FROM strava.activities")).scalar_one()
    with watched_plans(filled) as plans:
        removed = remove_activities_before(filled, oldest + timedelta(hours=6))
    assert removed["strava.computed_splits"] > removed["strava.activities"] > 0
    read = [(name, plan.statement) for plan in plans for name in plan.whole if name in large - RETENTION_READS]
    assert read == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM strava.activities",
        "SELECT max(received_at) FROM ops.webhook_events WHERE source = 'webhook'",
        "SELECT id FROM strava.activities ORDER BY id",
        "SELECT max(finished_at + interval '1 day') FROM ops.webhook_events WHERE state = 'done'",
        "DELETE FROM strava.laps WHERE athlete_id = 1000001",
        "SELECT count(*) FROM strava.activities AS a JOIN ops.payloads AS p ON p.activity_id = a.id",
    ],
)
def test_a_whole_table_is_noticed(filled: Engine, large: set[str], statement: str) -> None:
    with watched_plans(filled) as plans, filled.connect() as connection:
        connection.execute(text(statement))
    assert {name for plan in plans for name in plan.whole} & large


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM strava.activities ORDER BY id DESC LIMIT 1",
        "SELECT * FROM strava.activities WHERE athlete_id = 1000001",
        "SELECT count(*) FROM ops.webhook_events WHERE state = 'dead'",
    ],
)
def test_a_few_rows_are_no_whole_table(filled: Engine, large: set[str], statement: str) -> None:
    with watched_plans(filled) as plans, filled.connect() as connection:
        connection.execute(text(statement))
    assert {name for plan in plans for name in plan.whole} & large == set()
