"""An analyst takes every lock that a login without rights on schema ``ops`` can take, and everything goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Engine, inspect, make_url, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.months import Span
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.training_load import update_training_load
from strava_pipeline.warehouse import engine as engines
from strava_pipeline.warehouse import migrate as migration
from strava_pipeline.warehouse.access.analyst import ensure_analyst_role
from strava_pipeline.warehouse.access.made_logins import create_login
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.inbox.claims import claim_objects, mark_done
from strava_pipeline.warehouse.lake import write_month
from strava_pipeline.warehouse.migrate import HEAD, migrate
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline_tests.conftest import opened
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
# The pipeline waits so long for a lock here, and a test so long for the pipeline.
LOCK_MILLISECONDS = 2000
# Every advisory lock that the pipeline ever took, as an SQL expression each.
NUMBERS = (
    *(str(number) for number in range(7_283_000, 7_283_016)),
    str(0x5742_4358),
    f"hashtextextended('lake {RIDER} 2025-06', 0)",
    *(
        f"hashtextextended('strava-pipeline the {step} of athlete {RIDER}, 2025-06', 0)"
        for step in ("detail", "details", "streams")
    ),
    *(f"{half}, hashint8({RIDER})" for half in (5, 7_283_006, 7_283_007)),
)
STRONGER_MODES = (
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
ROW_LOCKS = ("KEY SHARE", "SHARE", "NO KEY UPDATE", "UPDATE")
EXPORTED = "pg_advisory_lock(bigint), pg_advisory_lock(int, int)"


@dataclass(frozen=True)
class Analyst:
    """A login that is a member of the analysts' role, and that role."""

    login: str
    role: str
    url: str

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url)


@pytest.fixture
def analyst(admin_engine: Engine, server: Server, database_name: str, empty_database: str) -> Iterator[Analyst]:
    """Roles belong to the whole server, hence names that nobody else has."""
    login, role, secret = f"mallory_{uuid4().hex[:8]}", f"analysts_{uuid4().hex[:8]}", "the-secret-of-mallory"
    ensure_analyst_role(admin_engine, role)
    url = make_url(server.url(database_name, Login.SQL)).set(drivername="postgresql", username=login, password=secret)
    with admin_engine.begin() as connection:
        create_login(connection, login, secret)
        names = {
            "login": Identifier(login),
            "role": Identifier(role),
            "database": Identifier(database_name),
            "empty": Identifier(str(make_url(empty_database).database)),
        }
        # The worst case: a server that lets everybody log in, and take advisory locks.
        for statement in (
            "GRANT {role} TO {login}",
            "GRANT CONNECT ON DATABASE {database}, {empty} TO {login}",
            f"GRANT EXECUTE ON FUNCTION {EXPORTED} TO {{login}}",
        ):
            driver_of(connection).execute(SQL(statement).format(**names))
    yield Analyst(login, role, url.render_as_string(hide_password=False))
    with admin_engine.begin() as connection:
        driver_of(connection).execute(SQL("REVOKE ALL ON DATABASE {empty} FROM {login}").format(**names))
        for name in (login, role):
            driver_of(connection).execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(name)))


@pytest.fixture
def impatient(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The pipeline, which waits for locks, but not for long."""
    monkeypatch.setattr(engines, "LOCK_MILLISECONDS", LOCK_MILLISECONDS)
    with opened(database) as engine:
        yield engine


@pytest.fixture
def impatient_admin(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The same for who makes roles and changes tables."""
    monkeypatch.setattr(engines, "LOCK_MILLISECONDS", LOCK_MILLISECONDS)
    with opened(server.set_up_url(database_name)) as engine:
        yield engine


def readable(engine: Engine) -> list[str]:
    """All tables and views of schema strava."""
    found = inspect(engine)
    return sorted([*found.get_table_names("strava"), *found.get_view_names("strava")])


@contextmanager
def everything_held(analyst: Analyst, names: list[str]) -> Iterator[None]:
    """Every advisory lock there was, and the strongest lock on every table and view that the analyst may take."""
    with analyst.connect() as connection:
        for number in NUMBERS:
            connection.execute(f"SELECT pg_advisory_lock({number})".encode())
        for name in names:
            connection.execute(SQL("LOCK TABLE strava.{} IN ACCESS SHARE MODE").format(Identifier(name)))
        yield


def a_strava() -> StravaStandIn:
    strava = StravaStandIn()
    strava.add(1, JUNE.start + timedelta(days=1))
    return strava


def books_calls(engine: Engine, _: Path) -> None:
    ledger = PostgresLedger(engine, RateLimits(100, 1000, 900, 86_400))
    for lane in (Lane.LIVE, Lane.BACKFILL):
        booked = ledger.reserve(lane, "/athlete", RIDER, longest=timedelta(seconds=1), max_wait=timedelta(0))
        ledger.settle(booked, CallOutcome(200, 1.0, server_time=datetime.now(UTC).replace(microsecond=0)))
    ledger.release(ledger.reserve(Lane.LIVE, "/athlete", RIDER, longest=timedelta(seconds=1), max_wait=timedelta(0)))


def works_through_the_inbox(engine: Engine, _: Path) -> None:
    store(engine, 1)
    (claim,) = claim_objects(engine, 10)
    with engine.begin() as connection:
        mark_done(connection, claim.fence)


def stores_and_analyses_an_activity(engine: Engine, _: Path) -> None:
    bring_up_to_date(a_strava().sync(engine), RIDER, 1)


def imports_a_month(engine: Engine, _: Path) -> None:
    sync = a_strava().sync(engine)
    assert [result.stored for result in import_listed(sync, [JUNE])] == [1]
    assert [fetch(sync, JUNE).stored for fetch in (import_details, import_streams)] == [1, 1]


def computes_the_training_load(engine: Engine, _: Path) -> None:
    stores_and_analyses_an_activity(engine, _)
    assert update_training_load(engine, RIDER, date(2025, 6, 3))


def writes_the_lake(engine: Engine, folder: Path) -> None:
    stores_and_analyses_an_activity(engine, folder)
    assert write_month(engine, str(folder / "lake"), JUNE).written


def migrates_what_is_migrated(engine: Engine, _: Path) -> None:
    assert migrate(engine) == HEAD


def forgets_an_athlete(engine: Engine, _: Path) -> None:
    stores_and_analyses_an_activity(engine, _)
    assert disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test").rows


@pytest.mark.parametrize(
    "step",
    [
        books_calls,
        works_through_the_inbox,
        stores_and_analyses_an_activity,
        imports_a_month,
        computes_the_training_load,
        writes_the_lake,
        migrates_what_is_migrated,
        forgets_an_athlete,
    ],
)
def test_everything_goes_on_while_an_analyst_holds_all_there_is_to_hold(
    impatient: Engine, analyst: Analyst, tmp_path: Path, step: Callable[[Engine, Path], None]
) -> None:
    connect_riders(impatient, RIDER)
    with ThreadPoolExecutor() as pool, everything_held(analyst, readable(impatient)):
        pool.submit(step, impatient, tmp_path).result(PATIENCE_SECONDS)


def test_the_role_of_analysts_is_made_while_one_of_them_holds_all_there_is_to_hold(
    impatient_admin: Engine, analyst: Analyst
) -> None:
    with everything_held(analyst, readable(impatient_admin)):
        ensure_analyst_role(impatient_admin, analyst.role)


def test_an_empty_database_is_migrated_while_a_stranger_holds_every_number(
    empty_database: str, analyst: Analyst, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "LOCK_MILLISECONDS", LOCK_MILLISECONDS)
    empty = open_engine(make_url(empty_database))
    there = make_url(analyst.url).set(database=empty.url.database).render_as_string(hide_password=False)
    with everything_held(Analyst(analyst.login, analyst.role, there), []):
        assert migrate(empty) == ""
    empty.dispose()


def test_an_analyst_may_take_the_weakest_lock_of_a_table_and_none_of_its_rows(engine: Engine, analyst: Analyst) -> None:
    tables = [f"strava.{name}" for name in readable(engine)]
    ours = [f"ops.{name}" for name in inspect(engine).get_table_names("ops")]
    assert "ops.locks" in ours
    with analyst.connect() as connection:
        for refused in (
            *(f"LOCK TABLE {name} IN {mode} MODE" for name in tables for mode in STRONGER_MODES),
            *(f"TABLE {name} FOR {strength}" for name in tables for strength in ROW_LOCKS),
            *(f"LOCK TABLE {name} IN {mode} MODE" for name in ours for mode in ("ACCESS SHARE", *STRONGER_MODES)),
            *(f"TABLE {name} FOR {strength}" for name in ours for strength in ROW_LOCKS),
            "SELECT nextval('ops.webhook_claims')",
            "COMMENT ON SCHEMA ops IS 'mine'",
        ):
            # A view that groups has no rows to lock in the first place.
            with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                connection.execute(refused.encode())
            connection.rollback()


def test_a_migration_that_meets_a_reader_who_stays_fails_in_one_line_and_changes_nothing(
    impatient_admin: Engine, analyst: Analyst, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade(connection: Connection, *_: object) -> None:
        connection.execute(text("ALTER TABLE strava.laps ADD COLUMN new int"))
        connection.execute(text("ALTER TABLE strava.activities ADD COLUMN new int"))

    monkeypatch.setattr(migration, "_upgrade", upgrade)
    monkeypatch.setattr(migration, "HEAD", "later")
    with everything_held(analyst, ["activities"]):
        with pytest.raises(
            WarehouseError, match=r"the tables were not changed: somebody reads them .*then run"
        ) as told:
            migrate(impatient_admin)
        assert "\n" not in str(told.value)
    assert "new" not in {column["name"] for column in inspect(impatient_admin).get_columns("laps", "strava")}
    assert migrate(impatient_admin) == HEAD
