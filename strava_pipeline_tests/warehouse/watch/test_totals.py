"""What has ended is counted once, whatever dies, is deleted or happens at the same time; and no total ever falls."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event, func, insert, select, update

from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse import finished_rows
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.athletes.row_deletion import delete_rows
from strava_pipeline.warehouse.finished_rows import CALL_RESULTS, COUNTED, result_of
from strava_pipeline.warehouse.inbox.claims import claim_objects, mark_dead, mark_done
from strava_pipeline.warehouse.inbox.dead_letters import EVERY, discard, replay
from strava_pipeline.warehouse.metric_totals import Labels, Total, add_to_totals, read_totals
from strava_pipeline.warehouse.record_lives import remove_done_events, remove_old_audits, remove_old_records
from strava_pipeline.warehouse.schema.grant_tables import token_audit
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.metric_tables import metric_totals
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.states import ErrorClass
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline.warehouse.watch.totals import add_finished
from strava_pipeline_tests.erasing import current_mark, grant
from strava_pipeline_tests.inbox import claim_one, connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
# Of a call that has just begun, whenever the tests get to it.
SOON = NOW + timedelta(days=1)
LONG_AGO = NOW - 500 * DAY
numbers = itertools.count(1)


def call(at: datetime = NOW, status: int | None = 200, **more: Any) -> dict[str, Any]:
    settled = {"settled_at": at, "status": status, "duration_ms": 120.0}
    return {"lane": "live", "endpoint": "/athlete", "reserved_at": at} | settled | more


def operation(at: datetime = NOW, **more: Any) -> dict[str, Any]:
    return {"at": at, "operation": "refresh", "outcome": "ok"} | more


def an_event(at: datetime = NOW, state: str = "done", **more: Any) -> dict[str, Any]:
    told = {"event_key": str(next(numbers)), "source": "webhook", "subscription_id": 1, "object_type": "activity"}
    about = {"object_id": 1, "aspect_type": "update", "owner_id": RIDER, "updates": {}, "signed": True, "state": state}
    times = {"event_time": at - timedelta(seconds=7), "received_at": at - timedelta(seconds=4), "finished_at": at}
    return told | about | times | more


def mail(at: datetime = NOW, state: str = "sent", **more: Any) -> dict[str, Any]:
    ended = {"finished_at": at} if state != "pending" else {"next_try_at": at}
    return {"activity_id": next(numbers), "kind": "ride_summary", "athlete_id": RIDER, "state": state} | ended | more


# By table: a row that has ended, and one that has not.
EXAMPLES: dict[Table, tuple[Callable[..., dict[str, Any]], dict[str, Any] | None]] = {
    api_calls: (call, {"reserved_at": SOON, "settled_at": None, "status": None, "duration_ms": None}),
    token_audit: (operation, None),
    webhook_events: (an_event, {"state": "waiting", "finished_at": None}),
    notifications: (mail, {"state": "pending", "finished_at": None, "next_try_at": NOW}),
}
MAIN = {api_calls: Total.CALLS, token_audit: Total.TOKENS, webhook_events: Total.EVENTS, notifications: Total.MAILS}
each_table = pytest.mark.parametrize("table", EXAMPLES, ids=lambda table: table.name)


def put(engine: Engine, table: Table, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        for row in rows:
            connection.execute(insert(table).values(row))


def totals(engine: Engine) -> dict[Total, dict[Labels, float]]:
    with engine.connect() as connection:
        return read_totals(connection)


def counted(engine: Engine, total: Total) -> dict[Labels, float]:
    return totals(engine)[total]


def flat(found: dict[Total, dict[Labels, float]]) -> dict[tuple[Total, Labels], float]:
    return {(total, labels): amount for total, by_labels in found.items() for labels, amount in by_labels.items()}


def assert_nothing_fell(before: dict[Total, dict[Labels, float]], after: dict[Total, dict[Labels, float]]) -> None:
    assert {key: amount for key, amount in flat(before).items() if flat(after).get(key, -1) < amount} == {}


def test_there_is_an_example_of_each_table_that_is_counted() -> None:
    assert {each.table for each in COUNTED} == set(EXAMPLES) == set(MAIN)


@each_table
def test_a_row_is_added_once_it_has_ended_and_only_once(engine: Engine, table: Table) -> None:
    row, open_values = EXAMPLES[table]
    put(engine, table, row(), row())
    if open_values is not None:
        put(engine, table, row(**open_values))
    assert add_finished(engine) == 2
    assert add_finished(engine) == 0
    assert sum(counted(engine, MAIN[table]).values()) == 2
    if open_values is None:
        put(engine, table, row())
    else:
        ended = row()
        with engine.begin() as connection:
            connection.execute(update(table).values({name: ended.get(name) for name in open_values}))
    assert add_finished(engine) == 1
    assert sum(counted(engine, MAIN[table]).values()) == 3


def test_calls_are_counted_by_endpoint_lane_and_result(engine: Engine) -> None:
    put(engine, api_calls, call(), call(status=429), call(status=429, lane="backfill"), call(status=None))
    add_finished(engine)
    assert counted(engine, Total.CALLS) == {
        ("/athlete", "live", "ok"): 1,
        ("/athlete", "live", "rate_limited"): 1,
        ("/athlete", "backfill", "rate_limited"): 1,
        ("/athlete", "live", "no_answer"): 1,
    }


def test_paths_that_only_the_operator_asks_for_are_one_endpoint(engine: Engine) -> None:
    # By ``strava-pipeline api``; such a path may name an athlete, whom no total outlives.
    put(engine, api_calls, call(endpoint="/athletes/5.json"), call(endpoint="/clubs/some-name"))
    add_finished(engine)
    assert counted(engine, Total.CALLS) == {("other", "live", "ok"): 2}
    assert {labels[0] for labels in counted(engine, Total.CALL_SECONDS)} == {"other"}


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (None, "no_answer"),
        (200, "ok"),
        (204, "ok"),
        (302, "other"),
        (400, "other"),
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not_found"),
        (429, "rate_limited"),
        (499, "other"),
        (503, "server_error"),
        (520, "server_error"),
    ],
)
def test_each_status_has_its_class(status: int | None, result: str) -> None:
    assert result_of(status) == result
    assert result in CALL_RESULTS


def test_the_time_of_an_answer_falls_into_one_bucket_and_of_no_answer_into_none(engine: Engine) -> None:
    put(engine, api_calls, *[call(duration_ms=ms) for ms in (20, 50, 51, 40_000)], call(status=None))
    add_finished(engine)
    found = counted(engine, Total.CALL_SECONDS)
    assert found == {
        ("/athlete", "0.05"): 2,
        ("/athlete", "0.1"): 1,
        ("/athlete", "+Inf"): 1,
        ("/athlete", "sum"): pytest.approx(40.121),
    }


def test_a_call_whose_process_died_is_one_without_an_answer_once_it_is_old(engine: Engine) -> None:
    unanswered = {"settled_at": None, "status": None, "duration_ms": None}
    put(engine, api_calls, call(NOW - timedelta(minutes=20), **unanswered), call(SOON, **unanswered))
    assert add_finished(engine) == 1
    assert counted(engine, Total.CALLS) == {("/athlete", "live", "no_answer"): 1}
    with engine.begin() as connection:
        connection.execute(update(api_calls).values(settled_at=NOW, status=200, duration_ms=1.0))
    assert add_finished(engine) == 1, "the answer that came after all is not counted again"
    assert sum(counted(engine, Total.CALLS).values()) == 2


def test_events_are_counted_by_source_and_what_became_of_them(engine: Engine) -> None:
    put(
        engine,
        webhook_events,
        an_event(),
        an_event(source="reconcile"),
        an_event(error="dropped: the athlete has disconnected"),
        an_event(state="discarded", error="it was odd"),
    )
    add_finished(engine)
    assert counted(engine, Total.EVENTS) == {
        ("webhook", "done"): 1,
        ("reconcile", "done"): 1,
        ("webhook", "dropped"): 1,
        ("webhook", "discarded"): 1,
    }
    assert counted(engine, Total.EVENT_SECONDS) == {
        ("webhook", "10.0"): 1,
        ("webhook", "sum"): 7,
        ("reconcile", "10.0"): 1,
        ("reconcile", "sum"): 7,
    }
    assert counted(engine, Total.RECEIPT_SECONDS)["webhook", "5.0"] == 1


def test_an_event_that_happens_after_its_end_by_two_clocks_took_no_time(engine: Engine) -> None:
    put(engine, webhook_events, an_event(event_time=NOW + timedelta(seconds=30)))
    add_finished(engine)
    assert counted(engine, Total.EVENT_SECONDS) == {("webhook", "1.0"): 1}


def die_again(engine: Engine, error_class: ErrorClass) -> None:
    with engine.begin() as connection:
        mark_dead(connection, claim_one(engine).fence, "odd", kind="Odd", error_class=error_class)


def test_each_death_of_an_event_is_counted_when_it_happens(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    store(engine, 1)
    die_again(engine, ErrorClass.TRANSIENT)
    assert counted(engine, Total.DEAD_LETTERS) == {("transient",): 1}
    with engine.begin() as connection:
        replay(connection, EVERY)
    die_again(engine, ErrorClass.PERMANENT)
    assert counted(engine, Total.DEAD_LETTERS) == {("transient",): 1, ("permanent",): 1}
    assert add_finished(engine) == 0, "it may still be replayed"
    with engine.begin() as connection:
        discard(connection, EVERY, by="operator", because="it is odd")
    assert add_finished(engine) == 1
    assert counted(engine, Total.EVENTS) == {("webhook", "discarded"): 1}
    assert sum(counted(engine, Total.DEAD_LETTERS).values()) == 2


def test_a_death_that_is_not_committed_is_not_counted(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    store(engine, 1)
    claim = claim_one(engine)
    with suppress(ZeroDivisionError), engine.begin() as connection:
        mark_dead(connection, claim.fence, "odd", kind="Odd", error_class=ErrorClass.PERMANENT)
        raise ZeroDivisionError
    assert counted(engine, Total.DEAD_LETTERS) == {}
    with engine.begin() as connection:
        mark_dead(connection, claim.fence + 1, "of a claim that is void", kind="Odd", error_class=ErrorClass.PERMANENT)
    assert counted(engine, Total.DEAD_LETTERS) == {}


def test_a_redriven_event_that_succeeds_is_done_and_its_death_stays_counted(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    store(engine, 1)
    die_again(engine, ErrorClass.TRANSIENT)
    with engine.begin() as connection:
        replay(connection, EVERY)
    fence = claim_one(engine).fence
    with engine.begin() as connection:
        mark_done(connection, fence)
    assert add_finished(engine) == 1
    assert counted(engine, Total.EVENTS) == {("webhook", "done"): 1}
    assert counted(engine, Total.DEAD_LETTERS) == {("transient",): 1}


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_process_that_dies_meanwhile_loses_and_doubles_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    monkeypatch.setattr(finished_rows, "BATCH", 2)
    monkeypatch.setattr("strava_pipeline.warehouse.watch.totals.BATCH", 2)
    put(engine, api_calls, *[call() for _ in range(5)])
    batches = itertools.count(1)

    def die(*given: Any) -> None:
        add_to_totals(*given)
        if next(batches) == dies_at:
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(finished_rows, "add_to_totals", die)
        with pytest.raises(SystemExit):
            add_finished(engine)
    assert sum(counted(engine, Total.CALLS).values()) == 2 * (dies_at - 1)
    add_finished(engine)
    assert sum(counted(engine, Total.CALLS).values()) == 5


def test_bridges_that_add_at_once_add_each_row_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_rows, "BATCH", 20)
    monkeypatch.setattr("strava_pipeline.warehouse.watch.totals.BATCH", 20)
    for table, (row, _) in EXAMPLES.items():
        put(engine, table, *[row() for _ in range(300)])
    with ThreadPoolExecutor(4) as bridges:
        added = list(bridges.map(lambda _: add_finished(engine), range(4)))
    add_finished(engine)
    assert sum(added) <= 4 * 300
    assert {total: sum(counted(engine, total).values()) for total in MAIN.values()} == dict.fromkeys(MAIN.values(), 300)


def test_what_has_piled_up_may_be_added_in_several_turns(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_rows, "BATCH", 20)
    monkeypatch.setattr("strava_pipeline.warehouse.watch.totals.BATCH", 20)
    put(engine, api_calls, *[call() for _ in range(50)])
    put(engine, notifications, mail())
    assert add_finished(engine, lambda: False) == 20 + 1
    assert add_finished(engine, lambda: False) == 20
    assert add_finished(engine) == 10
    assert sum(counted(engine, Total.CALLS).values()) == 50


def test_a_row_that_somebody_holds_is_added_later(engine: Engine) -> None:
    put(engine, api_calls, call(), call())
    with engine.begin() as other:
        other.execute(select(api_calls.c.id).order_by(api_calls.c.id).limit(1).with_for_update())
        assert add_finished(engine) == 1
    assert add_finished(engine) == 1


def test_with_nothing_to_add_it_is_one_statement(engine: Engine) -> None:
    put(engine, api_calls, call())
    add_finished(engine)
    statements: list[str] = []

    def collect(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", collect)
    add_finished(engine)
    event.remove(engine, "before_cursor_execute", collect)
    assert len(statements) == 1


def retain(engine: Engine) -> dict[str, int]:
    return remove_old_records(engine) | remove_old_audits(engine, DAY) | remove_done_events(engine, DAY)


@each_table
@pytest.mark.parametrize("is_added_before", [True, False])
def test_retention_lowers_no_total_and_loses_no_row(engine: Engine, table: Table, is_added_before: bool) -> None:
    row, _ = EXAMPLES[table]
    put(engine, table, row(LONG_AGO), row(LONG_AGO), row())
    if is_added_before:
        add_finished(engine)
    before = totals(engine)
    assert retain(engine)[table.fullname] == 2
    assert_nothing_fell(before, totals(engine))
    add_finished(engine)
    assert sum(counted(engine, MAIN[table]).values()) == 3


def test_retention_that_dies_loses_and_doubles_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    put(engine, api_calls, call(LONG_AGO), call(LONG_AGO))
    with monkeypatch.context() as patched:
        patched.setattr(finished_rows, "add_to_totals", Iterator.__next__)
        with pytest.raises(TypeError):
            remove_old_records(engine)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(api_calls)).scalar() == 2
    remove_old_records(engine)
    assert sum(counted(engine, Total.CALLS).values()) == 2


@pytest.mark.parametrize("is_added_before", [True, False])
def test_an_erasure_lowers_no_total_and_loses_no_row(engine: Engine, keyring: Keyring, is_added_before: bool) -> None:
    PostgresTokenStore(engine, keyring).connect(grant(RIDER), ["read"])
    put(engine, notifications, mail(), mail(state="failed"), mail(state="pending"))
    put(engine, webhook_events, an_event(), an_event(state="discarded"), an_event(state="waiting", finished_at=None))
    if is_added_before:
        add_finished(engine)
    before = totals(engine)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="asked to go")
    delete_rows(engine, current_mark(engine, RIDER))
    assert_nothing_fell(before, totals(engine))
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(notifications)).scalar() == 0
    add_finished(engine)
    assert counted(engine, Total.MAILS) == {("ride_summary", "sent"): 1, ("ride_summary", "failed"): 1}
    events = {("webhook", "done"): 1, ("webhook", "discarded"): 1, ("webhook", "dropped"): 1}
    assert counted(engine, Total.EVENTS) == events


def test_a_total_of_a_later_version_is_left_alone(engine: Engine) -> None:
    put(engine, metric_totals, {"metric": "of tomorrow", "labels": [], "amount": 3})
    assert set(totals(engine)) == set(Total)


def test_claims_are_taken_while_rows_are_added(engine: Engine) -> None:
    """Who adds holds rows that have ended, and nobody else needs these."""
    connect_riders(engine, RIDER)
    store(engine, 1)
    put(engine, webhook_events, an_event(object_id=1))
    with engine.begin() as adding:
        assert finished_rows.count_batch(adding, COUNTED[2])[0] == 1
        assert len(claim_objects(engine, 10)) == 1
