"""Rows go in batches: a process may die after any of them, and nobody waits for more than one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, text

from strava_pipeline.errors import DatabaseUnavailable, ErasureUnderWay
from strava_pipeline.months import Span
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes import row_deletion
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.athletes.owned_tables import KEPT_OPS_TABLES, owned_tables
from strava_pipeline.warehouse.athletes.row_deletion import RowDeletion, delete_rows, end_erasure
from strava_pipeline.warehouse.erasures import add_deleted, athletes_being_erased
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, note_finished, save_progress
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.erasing import DAY, MONTH, OTHER, current_mark, data_of, disconnect_and_erase, grant
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

SCOPES = ["read", "activity:read_all"]


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def smallest_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_BATCH", "LARGEST_BATCH", "ROWS_PER_ACTIVITY"):
        monkeypatch.setattr(row_deletion, name, 1)


def decide(engine: Engine, *, keep_data: bool = False) -> bool:
    return begin_erasure(engine, RIDER, keep_data=keep_data, actor=Actor.OPERATOR, cause="asked to go").deletes_data


def marked(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return athletes_being_erased(connection)


def audited(engine: Engine) -> list[str | None]:
    """What the audit says about erasures that have ended."""
    query = select(operator_audit.c.detail).where(operator_audit.c.action == "erase").order_by(operator_audit.c.id)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def titles(engine: Engine) -> int:
    with engine.connect() as connection:
        full = select(func.count()).where(webhook_events.c.owner_id == RIDER, webhook_events.c.updates != {})
        return connection.execute(full).scalar_one()


def budget(batches: int, ending: Callable[[], Any]) -> Callable[[], bool]:
    """Allow so many batches, then do ``ending``, and allow as many more as it takes if that returns."""
    left = itertools.chain(itertools.repeat(None, batches), (ending,))

    def go_on() -> bool:
        if (last := next(left, None)) is not None:
            last()
        return True

    return go_on


def die() -> None:
    raise Killed


def orphans(connection: Connection) -> int:
    """Rows about activities that are not stored, in tables that are found by their activities alone."""
    stored = select(tables.activities.c.id)
    return sum(
        connection.execute(select(func.count()).select_from(each).where(each.c.activity_id.not_in(stored))).scalar_one()
        for each in (tables.laps, tables.splits, tables.segment_efforts, tables.photos, tables.activity_streams)
    )


@pytest.mark.usefixtures("smallest_batches")
def test_whoever_goes_on_finds_what_a_dead_process_left(store: PostgresTokenStore) -> None:
    engine = store.engine
    others, before = data_of(engine, OTHER), sum(data_of(engine, RIDER).values())
    decide(engine)
    for batches in itertools.count(1, 9):
        with suppress(Killed):
            deleted = delete_rows(engine, current_mark(engine, RIDER), budget(batches, die))
            break
        assert marked(engine) == [RIDER]
        with pytest.raises(ErasureUnderWay, match="earlier data of athlete 1001 are still being deleted"):
            store.connect(grant(RIDER, 2), SCOPES)
        with engine.connect() as connection:
            assert orphans(connection) == 0
    assert batches > 30
    assert deleted == RowDeletion(before, is_whole=True)
    end_erasure(engine, current_mark(engine, RIDER), lambda: None)
    assert (data_of(engine, RIDER), titles(engine), marked(engine)) == ({}, 0, [])
    assert audited(engine) == [f"{before} rows deleted"]
    assert data_of(engine, OTHER) == others


@pytest.mark.usefixtures("smallest_batches")
def test_a_batch_that_is_cut_off_has_deleted_nothing(
    store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(store.engine)
    before = data_of(store.engine, RIDER)
    with monkeypatch.context() as patch:
        patch.setattr(row_deletion, "add_deleted", lambda *_: die())
        with pytest.raises(Killed):
            delete_rows(store.engine, current_mark(store.engine, RIDER))
    assert data_of(store.engine, RIDER) == before


@pytest.mark.usefixtures("smallest_batches")
def test_two_at_once_take_turns_and_count_each_row_once(store: PostgresTokenStore) -> None:
    engine = store.engine
    before = sum(data_of(engine, RIDER).values())
    decide(engine)

    mark = current_mark(engine, RIDER)

    def erase() -> None:
        delete_rows(engine, mark)
        end_erasure(engine, mark, lambda: None)

    with ThreadPoolExecutor(2) as both:
        for ended in [both.submit(erase), both.submit(erase)]:
            ended.result(PATIENCE_SECONDS)
    assert (data_of(engine, RIDER), marked(engine)) == ({}, [])
    assert audited(engine) == [f"{before} rows deleted"]


def come_back(store: PostgresTokenStore) -> None:
    """Another process ends the erasure, and the athlete returns with new data."""
    mark = current_mark(store.engine, RIDER)
    delete_rows(store.engine, mark)
    end_erasure(store.engine, mark, lambda: None)
    assert data_of(store.engine, RIDER) == {}
    store.connect(grant(RIDER, 2), SCOPES)
    strava = StravaStandIn()
    strava.add(7, DAY)
    bring_up_to_date(strava.sync(store.engine), RIDER, 7)


@pytest.mark.usefixtures("smallest_batches")
@pytest.mark.parametrize("leaves_again", [False, True])
def test_a_process_that_was_overtaken_deletes_nothing_and_ends_nothing(
    store: PostgresTokenStore, *, leaves_again: bool
) -> None:
    """It pauses between two batches while the athlete returns; who then leaves again is erased by another decision."""
    engine = store.engine
    decide(engine)
    mark = current_mark(engine, RIDER)

    def overtake() -> None:
        come_back(store)
        if leaves_again:
            decide(engine)

    assert delete_rows(engine, mark, budget(5, overtake)).is_whole
    files: list[str] = []
    end_erasure(engine, mark, lambda: files.append("deleted"))
    assert files == []
    assert data_of(engine, RIDER)["activities"] == 1
    assert len(audited(engine)) == 1
    assert marked(engine) == ([RIDER] if leaves_again else [])


def test_nobody_takes_a_decision_back(store: PostgresTokenStore) -> None:
    assert decide(store.engine)
    assert decide(store.engine, keep_data=True)
    with store.engine.connect() as connection:
        task = connection.execute(select(users.c.dagster_task).where(users.c.athlete_id == RIDER)).scalar_one()
    assert (task, marked(store.engine)) == ("erase", [RIDER])


def test_the_mark_stays_until_the_files_are_deleted(store: PostgresTokenStore) -> None:
    decide(store.engine)
    mark = current_mark(store.engine, RIDER)
    delete_rows(store.engine, mark)

    def refuse() -> None:
        raise PermissionError("Access Denied")

    with pytest.raises(PermissionError):
        end_erasure(store.engine, mark, refuse)
    assert marked(store.engine) == [RIDER]
    assert audited(store.engine) == []


# What others want while a batch is under way, and between two of them.
ALWAYS_FREE = (
    "SELECT FROM ops.users FOR UPDATE NOWAIT",
    "SELECT FROM strava.activities WHERE athlete_id = 2002 FOR UPDATE NOWAIT",
    "SELECT FROM strava.athletes WHERE id = 2002 FOR UPDATE NOWAIT",
    "SELECT FROM ops.webhook_events WHERE owner_id = 2002 FOR UPDATE NOWAIT",
    "SELECT FROM ops.locks FOR UPDATE NOWAIT",
    "SELECT FROM ops.payloads WHERE athlete_id = 2002 FOR UPDATE NOWAIT",
)
FREE_BETWEEN = (
    "SELECT FROM ops.erasures FOR UPDATE NOWAIT",
    "SELECT FROM strava.activities FOR UPDATE NOWAIT",
    "SELECT FROM strava.segments FOR UPDATE NOWAIT",
    "SELECT FROM strava.activity_streams FOR UPDATE NOWAIT",
    "SELECT FROM ops.webhook_events FOR UPDATE NOWAIT",
)


def lock_all(engine: Engine, statements: tuple[str, ...]) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.usefixtures("smallest_batches")
def test_others_wait_for_one_batch_at_most(store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, looked = store.engine, itertools.count()

    def between() -> bool:
        lock_all(engine, (*ALWAYS_FREE, *FREE_BETWEEN))
        return True

    def within(connection: Connection, athlete_id: int, rows: int) -> None:
        lock_all(engine, ALWAYS_FREE)
        next(looked)
        add_deleted(connection, athlete_id, rows)

    decide(engine)
    monkeypatch.setattr(row_deletion, "add_deleted", within)
    assert delete_rows(engine, current_mark(engine, RIDER), between).is_whole
    assert next(looked) > 30


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Somebody holds the athlete's activities."""
    with engine.begin() as connection:
        connection.execute(select(tables.activities.c.id).with_for_update())
        yield


def test_a_writer_at_work_is_waited_for(store: PostgresTokenStore) -> None:
    engine = store.engine
    decide(engine)
    with ThreadPoolExecutor(1) as other:
        with held(engine):
            deleting = other.submit(delete_rows, engine, current_mark(engine, RIDER))
            wait_for_a_lock(engine, waiting=1)
        assert deleting.result(PATIENCE_SECONDS).is_whole
    assert data_of(engine, RIDER) == {}


def test_a_row_that_another_process_changes_just_now_goes_as_well(store: PostgresTokenStore) -> None:
    engine, run = store.engine, "a-run-under-way"
    with engine.begin() as connection:
        save_progress(connection, ProgressReport(run, Span(RIDER, *MONTH), "details", Completeness(2, 2, 2), 3))
    decide(engine)
    with ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            note_finished(connection, run)
            deleting = other.submit(delete_rows, engine, current_mark(engine, RIDER))
            wait_for_a_lock(engine, waiting=1)
        assert deleting.result(PATIENCE_SECONDS).is_whole
    assert data_of(engine, RIDER) == {}


def test_a_batch_gives_its_locks_back_rather_than_wait_long(
    store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_deletion, "LOCK_MILLISECONDS", 1)
    monkeypatch.setattr(row_deletion, "ATTEMPTS", 2)
    decide(store.engine)
    with held(store.engine), pytest.raises(DatabaseUnavailable, match="lock timeout"):
        delete_rows(store.engine, current_mark(store.engine, RIDER))
    lock_all(store.engine, FREE_BETWEEN)
    assert delete_rows(store.engine, current_mark(store.engine, RIDER)).is_whole
    assert data_of(store.engine, RIDER) == {}


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [(50, 0.0, 100), (50, 0.1, 100), (400, 0.01, 500), (100, 0.4, 50), (500, 10.0, 10), (3, 60.0, 1)],
)
def test_a_batch_is_as_large_as_the_last_ones_time_allows(size: int, seconds: float, following: int) -> None:
    assert row_deletion._next_size(size, seconds) == following


def test_rows_about_activities_that_are_not_stored_go_too(store: PostgresTokenStore) -> None:
    """No writer of now leaves such rows; an earlier one may have."""
    engine = store.engine
    with engine.begin() as connection:
        connection.execute(delete(tables.activities).where(any_of(tables.activities.c.id, [RIDER * 10])))
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    assert data_of(engine, RIDER) == {}


def without_index(engine: Engine) -> list[str]:
    """Tables in which an athlete's rows are found by reading all."""
    with engine.connect() as connection:
        return [each.target.fullname for each in owned_tables(connection) if not any(each.indexed.values())]


def test_each_table_with_data_has_an_index_for_its_deletion(engine: Engine, owner_engine: Engine) -> None:
    """A table that is added without one is emptied all the same, but reads all its rows for each batch."""
    assert without_index(engine) == []
    with owner_engine.begin() as connection:
        connection.execute(text("CREATE TABLE strava.novel (id bigint PRIMARY KEY, activity_id bigint)"))
        connection.execute(text("CREATE TABLE ops.novel (day date, athlete_id bigint, PRIMARY KEY (day, athlete_id))"))
    assert without_index(engine) == ["ops.novel", "strava.novel"]


def test_all_declared_tables_that_name_athletes_or_activities_are_known(engine: Engine) -> None:
    def names_somebody(declared: Table) -> bool:
        return not {"athlete_id", "activity_id"}.isdisjoint(declared.c.keys())

    declared = {str(each.fullname) for each in tables.metadata.tables.values() if names_somebody(each)}
    with engine.connect() as connection:
        known = {each.target.fullname for each in owned_tables(connection)}
    kept = {f"ops.{name}" for name in KEPT_OPS_TABLES}
    assert known == declared - kept - {tables.activities.fullname}


def test_a_row_of_another_athlete_that_names_the_same_activity_stays(store: PostgresTokenStore) -> None:
    row = {"activity_id": RIDER * 10, "kind": "odd", "athlete_id": OTHER, "body": {}, "digest": "d"}
    with store.engine.begin() as connection:
        connection.execute(insert(payloads).values(row | {"fetched_at": func.now()}))
    others = data_of(store.engine, OTHER)
    disconnect_and_erase(store.engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    assert data_of(store.engine, OTHER) == others
