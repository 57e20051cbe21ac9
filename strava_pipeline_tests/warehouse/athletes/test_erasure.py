"""An athlete goes: nothing of theirs is left, nothing gets in afterwards, and coming back starts clean."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text, update

from strava_pipeline.errors import FencedOut, NeedsReauthorization, UnknownAthlete
from strava_pipeline.months import Span
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.pacing import Pace
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities import remapping
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.athletes.dagster_tasks import partition_removed
from strava_pipeline.warehouse.athletes.erasure import BegunErasure, begin_erasure, begin_erasure_within
from strava_pipeline.warehouse.athletes.owned_tables import KEPT_OPS_TABLES
from strava_pipeline.warehouse.athletes.row_deletion import delete_rows
from strava_pipeline.warehouse.bulk import store_newer
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore, patient_transaction
from strava_pipeline_tests.erasing import (
    DAY,
    MONTH,
    OTHER,
    Erased,
    add_event,
    current_mark,
    disconnect_and_erase,
    grant,
    rows_of,
)
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import bring_up_to_date, store_event
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.warehouse.quota.ledgers import Clock, open_ledger
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock


def events_of(engine: Engine, athlete: int) -> list[Any]:
    with engine.connect() as connection:
        rows = connection.execute(
            select(webhook_events).where(webhook_events.c.owner_id == athlete).order_by(webhook_events.c.id)
        )
        return list(rows)


def disconnect(engine: Engine, *, keep_data: bool = False) -> Erased:
    return disconnect_and_erase(engine, RIDER, keep_data=keep_data, actor=Actor.OPERATOR, cause="asked to go")


def user(engine: Engine, athlete: int = RIDER) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(users).where(users.c.athlete_id == athlete)).one()


def test_nothing_of_the_athlete_is_left_and_others_keep_everything(store: PostgresTokenStore) -> None:
    engine = store.engine
    others, events = rows_of(engine, OTHER), events_of(engine, OTHER)
    before = rows_of(engine, RIDER)
    assert all(before[name] for name in ("activities", "laps", "activity_streams", "route_analyses", "payloads"))

    erased = disconnect(engine)

    left = {name: count for name, count in rows_of(engine, RIDER).items() if count}
    assert left.keys() <= KEPT_OPS_TABLES
    assert erased.rows == sum(count for name, count in before.items() if name not in KEPT_OPS_TABLES)
    row = user(engine)
    assert (row.state, row.scopes, row.email, row.dagster_task) == ("revoked", [], None, "erase")
    assert row.strava_access_token is row.strava_refresh_token is None
    assert rows_of(engine, OTHER) == others
    assert events_of(engine, OTHER) == events
    assert store.access_token(OTHER) == Secret("access-1")


def test_segments_that_nobody_else_has_ridden_go_as_well(store: PostgresTokenStore) -> None:
    with store.engine.begin() as connection:
        for number, athlete in ((1, RIDER), (2, OTHER)):
            ids = {"number": number, "athlete": athlete}
            connection.execute(text("INSERT INTO strava.segments (id, fetched_at) VALUES (:number, now())"), ids)
            effort = "INSERT INTO strava.segment_efforts (activity_id, id, athlete_id, segment_id)"
            connection.execute(text(f"{effort} VALUES (:athlete * 10, :number, :athlete, :number)"), ids)
    disconnect(store.engine)
    with store.engine.connect() as connection:
        left = set(connection.execute(text("SELECT id FROM strava.segments")).scalars())
    assert 1 not in left
    assert 2 in left


def test_a_table_that_nobody_declared_is_emptied_as_well(store: PostgresTokenStore, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.execute(text("CREATE TABLE strava.novel (activity_id bigint)"))
        connection.execute(text("CREATE TABLE ops.novel (athlete_id bigint)"))
        connection.execute(text("INSERT INTO strava.novel SELECT id FROM strava.activities"))
        connection.execute(text("INSERT INTO ops.novel SELECT athlete_id FROM ops.users"))
    disconnect(store.engine)
    with store.engine.connect() as connection:
        activities = connection.execute(text("SELECT activity_id FROM strava.novel ORDER BY 1")).scalars().all()
        athletes = connection.execute(text("SELECT athlete_id FROM ops.novel")).scalars().all()
    assert activities == [OTHER * 10, OTHER * 10 + 1]
    assert athletes == [OTHER]


def test_events_end_with_a_reason_and_without_titles(store: PostgresTokenStore) -> None:
    assert disconnect(store.engine).events == 5
    for event in events_of(store.engine, RIDER):
        assert (event.state, event.updates) == ("done", {})
        done_before = event.event_key.endswith("done")
        assert event.error == (None if done_before else "dropped: the athlete has disconnected")


def test_discarded_events_go_with_the_words_of_whoever_discarded_them(store: PostgresTokenStore) -> None:
    discarded = [add_event(store.engine, athlete, "discarded") for athlete in (RIDER, OTHER)]
    disconnect(store.engine)
    assert "discarded" not in {event.state for event in events_of(store.engine, RIDER)}
    assert discarded[1] in {event.id for event in events_of(store.engine, OTHER)}


@pytest.mark.parametrize("keep_data", [True, False])
def test_a_remap_leaves_out_who_has_disconnected_and_goes_on_with_others(
    store: PostgresTokenStore, *, keep_data: bool
) -> None:
    """Also while the rows of who is erased are there."""
    engine = store.engine
    begin_erasure(engine, RIDER, keep_data=keep_data, actor=Actor.OPERATOR, cause="asked to go")
    with engine.connect() as connection:
        before = now(connection)
    assert [batch.rebuilt for batch in remap(engine, before=before)] == [2]


def test_a_remap_goes_on_with_others_when_somebody_disconnects_meanwhile(
    store: PostgresTokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, choose = store.engine, remapping._next_ids
    with engine.connect() as connection:
        before = now(connection)

    def choose_and_be_overtaken(connection: Connection, *args: Any) -> list[int]:
        ids = choose(connection, *args)
        monkeypatch.setattr(remapping, "_next_ids", choose)
        disconnect(engine, keep_data=True)
        return ids

    monkeypatch.setattr(remapping, "_next_ids", choose_and_be_overtaken)
    assert [batch.rebuilt for batch in remap(engine, before=before)] == [2]


def test_the_event_that_asks_for_it_may_be_finished_before(store: PostgresTokenStore) -> None:
    with patient_transaction(store.engine) as connection:
        connection.execute(
            update(webhook_events)
            .where(webhook_events.c.owner_id == RIDER, webhook_events.c.state == "launched")
            .values(state="done")
        )
        begun = begin_erasure_within(connection, RIDER, keep_data=True, actor=Actor.STRAVA, cause="deauthorized")
    assert begun == BegunErasure(events=4, deletes_data=False)
    assert sorted(event.error is None for event in events_of(store.engine, RIDER)) == [False] * 4 + [True] * 2


def test_a_write_for_an_event_and_the_erasure_wait_for_each_other_on_one_side_only(store: PostgresTokenStore) -> None:
    """Whoever writes for an event holds the event, then the athlete; so does the erasure."""
    engine = store.engine
    row = {"activity_id": 7, "kind": "detail", "athlete_id": RIDER, "body": "{}", "digest": "d", "fetched_at": DAY}
    with ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            connection.execute(select(webhook_events.c.id).with_for_update())
            erasing = other.submit(disconnect, engine)
            wait_for_a_lock(engine, waiting=1)
            store_newer(connection, payloads, [row])
        assert erasing.result(PATIENCE_SECONDS).events == 5
    assert rows_of(engine, RIDER)["payloads"] == 0


def test_news_of_whoever_has_gone_are_not_stored(store: PostgresTokenStore) -> None:
    disconnect(store.engine)
    news = NewEvent("k", 1, "activity", 7, "update", RIDER, DAY, {"title": "Round the lake"}, signed=True)
    assert store_event(store.engine, news) is Stored.UNKNOWN_OWNER


def test_data_is_kept_on_request_and_deleted_later(store: PostgresTokenStore) -> None:
    before = rows_of(store.engine, RIDER)
    assert disconnect(store.engine, keep_data=True) == Erased(events=5, rows=0)
    kept = rows_of(store.engine, RIDER)
    assert {name: kept[name] for name in ("activities", "payloads", "laps")} == {
        name: before[name] for name in ("activities", "payloads", "laps")
    }
    assert user(store.engine).strava_access_token is None
    assert disconnect(store.engine).rows > 0
    assert rows_of(store.engine, RIDER)["activities"] == 0


def test_the_log_tells_who_and_why_and_how_much(store: PostgresTokenStore) -> None:
    rows = disconnect(store.engine).rows
    with store.engine.connect() as connection:
        found, ended = connection.execute(select(operator_audit).order_by(operator_audit.c.id)).all()
        last = connection.execute(select(token_audit).order_by(token_audit.c.id.desc())).first()
    assert (found.actor, found.action, found.subject, found.outcome) == (
        "operator", "disconnect", f"athlete {RIDER}", "ok",
    )  # fmt: skip
    assert found.detail == "asked to go; 5 events dropped; data to be deleted"
    assert (ended.actor, ended.action, ended.subject, ended.detail) == (
        "operator", "erase", f"athlete {RIDER}", f"{rows} rows deleted",
    )  # fmt: skip
    assert last is not None
    assert (last.athlete_id, last.operation, last.outcome, last.detail) == (RIDER, "erase", "ok", "asked to go")


def test_a_stranger_cannot_be_forgotten(engine: Engine) -> None:
    with pytest.raises(UnknownAthlete):
        disconnect(engine)


def test_whoever_comes_back_starts_clean(store: PostgresTokenStore) -> None:
    disconnect(store.engine)
    store.connect(grant(RIDER, 2), ["read"])
    assert store.access_token(RIDER) == Secret("access-2")
    assert user(store.engine).scopes == ["read"]
    strava = StravaStandIn()
    strava.add(RIDER * 10, DAY)
    bring_up_to_date(strava.sync(store.engine), RIDER, RIDER * 10)
    assert rows_of(store.engine, RIDER)["activities"] == 1


def test_a_removal_that_comes_late_leaves_what_is_due_for_whoever_is_back(store: PostgresTokenStore) -> None:
    disconnect(store.engine)
    partition_removed(store.engine, RIDER)
    assert user(store.engine).dagster_task is None
    with store.engine.begin() as connection:
        connection.execute(update(users).values(dagster_task="register"))
    partition_removed(store.engine, RIDER)
    assert user(store.engine).dagster_task == "register"


WRITES: dict[str, Callable[[StravaStandIn, Engine], object]] = {
    "profile": lambda strava, engine: import_athlete(strava.sync(engine), RIDER),
    "summaries": lambda strava, engine: list(import_summaries(strava.sync(engine), [Span(RIDER, *MONTH)])),
    "activity": lambda strava, engine: bring_up_to_date(strava.sync(engine), RIDER, 7),
}


@pytest.mark.parametrize("kind", WRITES)
def test_an_answer_that_comes_after_the_erasure_is_not_stored(store: PostgresTokenStore, kind: str) -> None:
    """Strava was asked while the athlete was connected; the answer is there only afterwards."""

    class Slow(StravaStandIn):
        def get(self, athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
            answer = super().get(athlete_id, path, query, **more)
            disconnect(store.engine)
            return answer

    strava = Slow()
    strava.add(7, DAY)
    # What works on an event finds that dropped, too.
    with pytest.raises((NeedsReauthorization, FencedOut), match=rf"athlete {RIDER} has disconnected|overtaken"):
        WRITES[kind](strava, store.engine)
    assert rows_of(store.engine, RIDER).keys() - KEPT_OPS_TABLES
    assert not any(count for name, count in rows_of(store.engine, RIDER).items() if name not in KEPT_OPS_TABLES)


def test_figures_and_streams_are_refused_where_the_data_was_kept(store: PostgresTokenStore) -> None:
    engine, span = store.engine, Span(RIDER, *MONTH)
    with engine.begin() as connection:
        connection.execute(route_analyses.delete())
        connection.execute(tables.activity_streams.delete().where(tables.activity_streams.c.activity_id == RIDER * 10))
    disconnect(engine, keep_data=True)
    strava = StravaStandIn()
    strava.add(RIDER * 10, DAY)
    with pytest.raises(NeedsReauthorization):
        analyse_span(engine, span)
    with pytest.raises(NeedsReauthorization):
        import_streams(strava.sync(engine), span)
    assert rows_of(engine, RIDER)["route_analyses"] == 0
    assert rows_of(engine, RIDER)["activity_streams"] == 1


def test_a_write_under_way_is_waited_for_and_its_rows_go_too(store: PostgresTokenStore) -> None:
    engine = store.engine
    row = {"activity_id": 7, "kind": "detail", "athlete_id": RIDER, "body": "{}", "digest": "d", "fetched_at": DAY}
    with ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            store_newer(connection, payloads, [row])
            erasing = other.submit(disconnect, engine)
            wait_for_a_lock(engine, waiting=1)
        erasing.result(PATIENCE_SECONDS)
    assert rows_of(engine, RIDER)["payloads"] == 0


def test_a_write_that_waited_for_the_erasure_is_refused(store: PostgresTokenStore) -> None:
    engine = store.engine
    row = {"activity_id": 7, "kind": "detail", "athlete_id": RIDER, "body": "{}", "digest": "d", "fetched_at": DAY}

    def write() -> None:
        with engine.begin() as connection:
            store_newer(connection, payloads, [row])

    with ThreadPoolExecutor(1) as other:
        with patient_transaction(engine) as connection:
            begin_erasure_within(connection, RIDER, keep_data=False, actor=Actor.STRAVA, cause="deauthorized")
            writing = other.submit(write)
            wait_for_a_lock(engine, waiting=1)
        with pytest.raises(NeedsReauthorization):
            writing.result(PATIENCE_SECONDS)
    delete_rows(engine, current_mark(engine, RIDER))
    assert rows_of(engine, RIDER)["payloads"] == 0


def test_a_write_that_holds_what_is_deleted_is_refused_and_waited_for(store: PostgresTokenStore) -> None:
    engine = store.engine
    row = {
        "activity_id": RIDER * 10,
        "kind": "detail",
        "athlete_id": RIDER,
        "body": "{}",
        "digest": "d",
        "fetched_at": DAY,
    }

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(select(tables.activities.c.id).with_for_update())
            erasing.append(other.submit(disconnect, engine))
            wait_for_a_lock(engine, waiting=1)
            store_newer(connection, payloads, [row])

    erasing: list[Future[Erased]] = []
    with ThreadPoolExecutor(1) as other:
        with pytest.raises(NeedsReauthorization):
            write()
        erasing[0].result(PATIENCE_SECONDS)
    assert rows_of(engine, RIDER)["payloads"] == rows_of(engine, RIDER)["activities"] == 0


def test_writes_do_not_wait_for_a_refresh(store: PostgresTokenStore) -> None:
    row = {"activity_id": 7, "kind": "detail", "athlete_id": RIDER, "body": "{}", "digest": "d", "fetched_at": DAY}

    def refresh(refresh_token: Secret) -> TokenGrant:
        with store.engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = 1000")
            store_newer(connection, payloads, [row])
        return grant(RIDER, 2)

    assert store.refresh_once(RIDER, Secret("access-1"), refresh) == Secret("access-2")


def test_whoever_waits_for_quota_is_told_soon(store: PostgresTokenStore, clock: Clock) -> None:
    ledger = open_ledger(store.engine, clock, short=1)
    ledger.reserve(Lane.BACKFILL, "/a", RIDER, longest=timedelta(seconds=1), max_wait=timedelta(0))
    began = clock.moment

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.moment - began > timedelta(minutes=1):
            disconnect(store.engine)

    ledger = open_ledger(store.engine, clock, short=1, sleep=sleep)
    with pytest.raises(NeedsReauthorization):
        ledger.reserve(Lane.BACKFILL, "/a", RIDER, longest=timedelta(seconds=1), max_wait=timedelta(hours=1))
    assert clock.moment - began <= timedelta(minutes=1) + timedelta(seconds=30)


def test_a_backfill_that_pauses_stops_within_half_a_minute(store: PostgresTokenStore) -> None:
    strava = StravaStandIn()
    for number in range(RIDER * 10, RIDER * 10 + 4):
        strava.add(number, DAY)
    moment, gone_at = 0.0, 50.0

    def sleep(seconds: float) -> None:
        nonlocal moment
        moment += seconds
        if moment > gone_at:
            disconnect(store.engine)

    sync = strava.sync(store.engine)
    list(import_summaries(sync, [Span(RIDER, *MONTH)]))
    slow = replace(sync, pace=Pace(1, 150, sleep=sleep, clock=lambda: moment))
    with pytest.raises(NeedsReauthorization, match="has disconnected"):
        import_details(slow, Span(RIDER, *MONTH))
    assert gone_at < moment <= gone_at + 30
