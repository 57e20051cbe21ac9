"""Migrations of tables that hold data: from every revision, nothing lost; and never a step back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, Table, inspect, make_url, select, text, types
from sqlalchemy.dialects import postgresql

from strava_pipeline.errors import WarehouseError
from strava_pipeline.warehouse import migrate as migration
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.imports.deletion_guard import shows_less
from strava_pipeline.warehouse.locks import acquire_for_migration
from strava_pipeline.warehouse.migrate import REVISIONS, check_migrated, migrate
from strava_pipeline_tests.month_counts import counts_after_a_check, counts_of_everything

SAMPLES: tuple[tuple[type[Any], Any], ...] = (
    (postgresql.JSONB, {"a": [1]}),
    (types.JSON, {"a": [1]}),
    (types.Boolean, True),
    (types.BigInteger, 2**53 + 1),
    (types.SmallInteger, 1),
    (types.Integer, 1),
    (types.Float, 1.5),
    (types.DateTime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    (types.Date, date(2026, 1, 2)),
    (types.LargeBinary, b"a"),
    (types.Text, "some, 'odd' text"),
)

# Values that go with those above.
FITTING: dict[str, dict[str, Any]] = {
    "ops.app_status": {"id": 1},
    "ops.alerts": {"state": "firing"},
    "ops.alert_messages": {"mail_state": "sent", "push_state": "skipped"},
    "ops.notifications": {"kind": "ride_summary"},
}
# Words that a revision replaced: table, column and word, and the word since then.
RENAMED = {("ops.users", "dagster_task"): ("import", "register")}


@pytest.fixture
def old(empty_database: str) -> Iterator[Engine]:
    engine = open_engine(make_url(empty_database))
    yield engine
    engine.dispose()


def upgrade_to(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        acquire_for_migration(connection, migration.VERSION_SCHEMA, migration.VERSION_TABLE)
        migration._upgrade(connection, "", revision)


def tables_of(connection: Connection) -> dict[str, Table]:
    """Every table as the database has it, but for the revision's."""
    found = MetaData()
    for schema in ("strava", "ops"):
        found.reflect(connection, schema=schema)
    return {name: table for name, table in found.tables.items() if table.name != migration.VERSION_TABLE}


def allowed(connection: Connection, table: Table) -> dict[str, Any]:
    """Values that the table's checks allow, by column."""
    checks = inspect(connection).get_check_constraints(table.name, schema=table.schema)
    found: dict[str, Any] = {}
    for check in checks:
        if listed := re.match(r"\(?(\w+) = ANY \(ARRAY\['(\w+)'", check["sqltext"]):
            found[listed[1]] = listed[2]
    return found


def sample(kind: Any) -> Any:
    if isinstance(kind, postgresql.ARRAY):
        return [sample(kind.item_type)]
    value = next(value for wanted, value in SAMPLES if isinstance(kind, wanted))
    return value.replace(tzinfo=None) if isinstance(kind, types.DateTime) and not kind.timezone else value


def fill(connection: Connection) -> dict[str, dict[str, Any]]:
    """A row in every table, each column filled; returns them by table."""
    rows = {}
    for name, table in tables_of(connection).items():
        given = {column.name: sample(column.type) for column in table.columns} | allowed(connection, table)
        given |= {column: value for column, value in FITTING.get(name, {}).items() if column in given}
        connection.execute(table.insert().values(given))
        rows[name] = given
    return rows


def test_a_migration_of_many_rows_takes_its_time_and_lets_nobody_wait_behind_it_for_long(
    old: Engine, add_revision: Callable[..., str]
) -> None:
    names = ("statement_timeout", "lock_timeout")
    limits = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    add_revision(f"CREATE TABLE ops.limits AS SELECT {limits}")
    migrate(old)
    with old.connect() as connection:
        assert tuple(connection.execute(text("SELECT * FROM ops.limits")).one()) == ("0", "1s")
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "2min"


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_revision_are_all_there_after_those_that_follow(
    old: Engine, add_revision: Callable[..., str], revision: str
) -> None:
    """One is added, so that one follows the newest as well."""
    upgrade_to(old, revision)
    with old.begin() as connection:
        before = fill(connection)
    assert {"strava.activities", "ops.users", "ops.payloads"} <= set(before)
    add_revision("ALTER TABLE ops.users ADD COLUMN new int NOT NULL DEFAULT 1", "CREATE TABLE ops.new (id int)")
    assert migrate(old) == revision
    check_migrated(old)
    with old.connect() as connection:
        tables = tables_of(connection)
        assert "ops.new" in tables
        for name, given in before.items():
            if name not in tables:
                continue
            assert set(given) <= set(tables[name].columns.keys()), name
            # A migration may add rows of its own.
            rows = connection.execute(select(*(tables[name].c[column] for column in given))).mappings().all()
            kept = given | {
                column: word
                for (table, column), (before_it, word) in RENAMED.items()
                if table == name and given[column] == before_it
            }
            assert kept in [dict(row) for row in rows], name


def test_words_of_leaving_athletes_are_those_of_the_glossary_after_0014(old: Engine) -> None:
    upgrade_to(old, "0013")
    tasks = {1: "import", 2: "removal", 3: "departure", 4: None}
    with old.begin() as connection:
        tables = tables_of(connection)
        for athlete_id, task in tasks.items():
            row = {"athlete_id": athlete_id, "scopes": [], "state": "revoked", "generation": 1, "dagster_task": task}
            connection.execute(tables["ops.users"].insert().values(row))
        for action in ("forget", "withdraw", "replay"):
            row = {"actor": "operator", "action": action, "outcome": "ok"}
            connection.execute(tables["ops.operator_audit"].insert().values(row))
        event = allowed(connection, tables["ops.webhook_events"]) | {"error_kind": "DatabaseAway"}
        filled = {column.name: sample(column.type) for column in tables["ops.webhook_events"].columns}
        connection.execute(tables["ops.webhook_events"].insert().values(filled | event))
    assert migrate(old) == "0013"
    with old.connect() as connection:
        stored = connection.execute(text("SELECT athlete_id, dagster_task FROM ops.users ORDER BY 1")).all()
        actions = connection.execute(text("SELECT action FROM ops.operator_audit ORDER BY id")).scalars().all()
        kinds = connection.execute(text("SELECT error_kind FROM ops.webhook_events")).scalars().all()
    assert [tuple(row) for row in stored] == [(1, "register"), (2, "erase"), (3, "unregister"), (4, None)]
    assert actions == ["disconnect", "cancel", "replay"]
    assert kinds == ["DatabaseUnavailable"]


def test_months_with_a_listed_activity_were_reached_after_0016(old: Engine) -> None:
    upgrade_to(old, "0015")
    may, june = datetime(2025, 5, 31, 23, 59, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)
    first, second = datetime(2025, 7, 1, tzinfo=UTC), datetime(2025, 7, 2, tzinfo=UTC)
    # The third activity came by a webhook, which tells nothing of its month.
    rows = [(1, june, "summary", second), (2, may, "summary", second), (3, may - timedelta(days=40), "detail", first)]
    rows += [(4, june + timedelta(days=9), "summary", first)]
    with old.begin() as connection:
        activities, payloads = (tables_of(connection)[name] for name in ("strava.activities", "ops.payloads"))
        for number, start, kind, fetched_at in rows:
            values = {column.name: sample(column.type) for column in activities.columns} | {"athlete_id": 7}
            connection.execute(activities.insert().values(values | {"id": number, "start_date": start}))
            values = {column.name: sample(column.type) for column in payloads.columns} | {"athlete_id": 7}
            values |= {"activity_id": number, "kind": kind, "fetched_at": fetched_at}
            connection.execute(payloads.insert().values(values))
    migrate(old)
    with old.connect() as connection:
        found = connection.execute(text("SELECT month, listed_at FROM ops.import_months ORDER BY month")).all()
    assert [tuple(row) for row in found] == [(date(2025, 5, 1), second), (date(2025, 6, 1), first)]


def test_athletes_who_connected_in_the_browser_have_an_import_after_0024(old: Engine) -> None:
    upgrade_to(old, "0023")
    connected_at = datetime(2026, 1, 2, tzinfo=UTC)
    athletes = {1: ("active", "import"), 2: ("active", None), 3: ("revoked", None), 4: ("active", None)}
    with old.begin() as connection:
        tables = tables_of(connection)
        for athlete_id, (state, task) in athletes.items():
            row = {"athlete_id": athlete_id, "scopes": [], "state": state, "generation": 1, "dagster_task": task}
            connection.execute(tables["ops.users"].insert().values(row | {"connected_at": connected_at}))
        # The fourth connected by the command.
        for athlete_id in (2, 3):
            row = {"actor": "athlete", "action": "connect", "outcome": "ok", "subject": f"athlete {athlete_id}"}
            connection.execute(tables["ops.operator_audit"].insert().values(row))
        row = {column.name: sample(column.type) for column in tables["strava.activities"].columns}
        connection.execute(tables["strava.activities"].insert().values(row | {"athlete_id": 2}))
    assert migrate(old) == "0023"
    with old.connect() as connection:
        made = connection.execute(
            text("SELECT athlete_id, made_at, state, newest_at IS NULL FROM ops.imports ORDER BY 1")
        ).all()
        tasks = connection.execute(text("SELECT dagster_task FROM ops.users ORDER BY athlete_id")).scalars().all()
    # Who has activities is no new athlete: their newest month does not go before everybody's.
    assert [tuple(row) for row in made] == [(1, connected_at, "due", True), (2, connected_at, "due", False)]
    assert tasks == ["register", None, None, None]


def test_months_with_samples_and_no_file_are_marked_once_after_0031(old: Engine) -> None:
    upgrade_to(old, "0030")
    marked_at = datetime(2026, 1, 2, tzinfo=UTC)
    starts = {1: datetime(2025, 5, 1, tzinfo=UTC), 2: datetime(2025, 6, 30, 23, 59, tzinfo=UTC), 3: marked_at}
    with old.begin() as connection:
        tables = tables_of(connection)
        for number, start in starts.items():
            for name, key in (("activities", "id"), ("activity_streams", "activity_id")):
                row = {column.name: sample(column.type) for column in tables[f"strava.{name}"].columns}
                row |= {"athlete_id": 7, key: number} | ({"start_date": start} if key == "id" else {})
                connection.execute(tables[f"strava.{name}"].insert().values(row))
        months = tables["ops.import_months"].insert()
        connection.execute(months.values(athlete_id=7, month=date(2025, 5, 1), lake_at=marked_at))
        # Its writer died before there was a file, or before it was noted.
        connection.execute(months.values(athlete_id=7, month=date(2026, 1, 1), lake_outdated_at=marked_at))
    migrate(old)
    with old.connect() as connection:
        found = connection.execute(
            text(
                "SELECT month, extract(year FROM lake_at)::int, lake_outdated_at > '2026-01-01' FROM ops.import_months"
            )
        ).all()
    assert sorted(tuple(row) for row in found) == [
        (date(2025, 5, 1), 2026, None),
        (date(2025, 6, 1), None, True),
        (date(2026, 1, 1), 1970, True),
    ]


def test_all_months_are_checked_after_0032(old: Engine) -> None:
    upgrade_to(old, "0031")
    starts = (datetime(2025, 5, 31, 23, 59, tzinfo=UTC), *(datetime(2025, 6, day, tzinfo=UTC) for day in (1, 2)))
    with old.begin() as connection:
        activities = tables_of(connection)["strava.activities"]
        row = {column.name: sample(column.type) for column in activities.columns}
        for number, start in enumerate(starts):
            connection.execute(activities.insert().values(row | {"id": number, "athlete_id": 7, "start_date": start}))
    migrate(old)
    assert check_changed_months(old) == 2
    assert counts_after_a_check(old) == counts_of_everything(old)


def test_a_migration_that_fails_leaves_tables_and_rows_as_they_were(
    old: Engine, add_revision: Callable[..., str]
) -> None:
    revision = REVISIONS[-1]
    upgrade_to(old, revision)
    with old.begin() as connection:
        fill(connection)
    add_revision("DELETE FROM ops.users", "CREATE TABLE ops.new (id int)", "CREATE TABLE strava.segments (id int)")
    with pytest.raises(Exception, match="already exists"):
        migrate(old)
    with old.connect() as connection:
        assert migration.stored_revision(connection) == revision
        assert connection.execute(text("SELECT count(*) FROM ops.users")).scalar_one() == 1
        assert "new" not in inspect(connection).get_table_names("ops")


def test_tables_of_a_newer_program_are_never_taken_back(owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE ops.alembic_version SET version_num = '0999'"))
    with pytest.raises(WarehouseError, match=r"revision 0999, .* tables are never taken back; install") as refused:
        migrate(owner_engine)
    assert "\n" not in str(refused.value)
    for script in ScriptDirectory(str(migration._SCRIPTS)).walk_revisions():
        assert not hasattr(script.module, "downgrade")


def test_athletes_with_private_activities_showed_them_before_0026(old: Engine) -> None:
    upgrade_to(old, "0025")
    with old.begin() as connection:
        tables = tables_of(connection)
        for athlete_id, private, state in ((1, True, "active"), (2, False, "active"), (3, True, "revoked")):
            row = {"athlete_id": athlete_id, "scopes": ["activity:read"], "state": state, "generation": 1}
            connection.execute(tables["ops.users"].insert().values(row))
            table = tables["strava.activities"]
            values = {column.name: sample(column.type) for column in table.columns}
            values |= {"id": athlete_id, "athlete_id": athlete_id, "private": private}
            connection.execute(table.insert().values(values))
    migrate(old)
    with old.connect() as connection:
        found = connection.execute(text("SELECT athlete_id, scopes FROM ops.histories")).all()
        assert shows_less(connection, 1)
    assert [tuple(row) for row in found] == [(1, ["activity:read_all"])]


def test_what_had_ended_before_0039_is_taken_for_counted_and_what_had_not_will_be_counted(old: Engine) -> None:
    upgrade_to(old, "0038")
    now = datetime.now(UTC)
    call: dict[str, Any] = {"lane": "live", "endpoint": "/athlete"}
    calls = [
        call | {"reserved_at": now - timedelta(minutes=2), "settled_at": now},
        call | {"reserved_at": now, "settled_at": None},
        call | {"reserved_at": now - timedelta(days=2), "settled_at": None},
    ]
    event = {"source": "webhook", "subscription_id": 1, "object_type": "activity", "object_id": 1, "owner_id": 1}
    event |= {"aspect_type": "update", "event_time": now, "updates": {}, "signed": True}
    states = ("received", "launched", "waiting", "dead", "parked", "done", "discarded")
    mail = {"kind": "ride_summary", "athlete_id": 1}
    mails = [
        mail | {"activity_id": 1, "state": "sent", "finished_at": now, "next_try_at": None},
        mail | {"activity_id": 2, "state": "pending", "finished_at": None, "next_try_at": now},
    ]
    with old.begin() as connection:
        tables = tables_of(connection)
        connection.execute(tables["ops.api_calls"].insert(), calls)
        events = [event | {"state": state, "event_key": state} for state in states]
        connection.execute(tables["ops.webhook_events"].insert(), events)
        connection.execute(tables["ops.notifications"].insert(), mails)
        connection.execute(tables["ops.token_audit"].insert(), {"operation": "refresh", "outcome": "ok"})
    migrate(old)
    with old.begin() as connection:
        tables = tables_of(connection)
        found = {
            name: list(connection.execute(select(table.c.is_counted).order_by(table.c.id)).scalars())
            for name in ("api_calls", "webhook_events", "notifications", "token_audit")
            for table in [tables[f"ops.{name}"]]
        }
        assert found == {
            "api_calls": [True, False, True],
            "webhook_events": [False] * 5 + [True] * 2,
            "notifications": [True, False],
            "token_audit": [True],
        }
        connection.execute(tables["ops.api_calls"].insert(), calls[:1])
        assert connection.execute(text("SELECT count(*) FROM ops.api_calls WHERE NOT is_counted")).scalar() == 2
