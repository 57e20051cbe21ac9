"""Activities that could not be stored are left alone for growing pauses; a person's backfill tries them all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, RowMapping, select, update

from strava_pipeline.errors import NotAnswered, RejectedRequest
from strava_pipeline.months import Span, month_span
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine, count_quarantined
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.states import ImportStep, PutAside
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

JUNE = month_span(RIDER, datetime(2025, 6, 1, tzinfo=UTC))
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Strava with two listed rides in June."""
    strava = StravaStandIn()
    for number in (1, 2):
        strava.add(number, JUNE.start.replace(day=number))
    import_listed(strava.sync(engine), [JUNE])
    strava.new_requests()
    return strava


def stored(engine: Engine) -> list[RowMapping]:
    with engine.connect() as connection:
        return list(connection.execute(select(put_aside).order_by(put_aside.c.activity_id)).mappings())


def fail(strava: StravaStandIn, error: Exception, number: int = 2) -> None:
    strava.faults[f"/activities/{number}"] = [error]


def test_pauses_are_one_day_then_seven_then_thirty(strava: StravaStandIn, engine: Engine) -> None:
    pauses = []
    for tries in range(1, 6):
        fail(strava, RejectedRequest("odd"))
        import_details(strava.sync(engine), JUNE)
        (row,) = stored(engine)
        assert row["tries"] == tries
        pauses.append(row["retry_at"] - row["tried_at"])
    assert pauses == [DAY, 7 * DAY, 30 * DAY, 30 * DAY, 30 * DAY]


@pytest.mark.parametrize(
    ("error", "kind", "counted"),
    [
        (RejectedRequest("odd"), PutAside.UNUSABLE, 1),
        (NotAnswered("failed", status=500), PutAside.UNANSWERED, 1),
        (None, PutAside.HIDDEN, 0),
    ],
    ids=["refused", "failed", "gone"],
)
def test_the_reason_tells_whose_fault_it_is_and_what_is_gone_is_nobodys(
    strava: StravaStandIn, engine: Engine, error: Exception | None, kind: PutAside, counted: int
) -> None:
    if error is None:
        strava.delete(2)
    else:
        fail(strava, error)
    result = import_details(strava.sync(engine), JUNE)
    (row,) = stored(engine)
    assert (row["activity_id"], row["step"], row["kind"]) == (2, "detail", kind)
    assert len(result.quarantined) == counted
    with engine.connect() as connection:
        assert sum(count_quarantined(connection).values()) == counted


def test_what_is_not_due_is_left_alone_unless_a_person_asks(strava: StravaStandIn, engine: Engine) -> None:
    fail(strava, RejectedRequest("odd"))
    strava.faults["/activities/1/streams"] = [RejectedRequest("odd")]

    def asked(**how: Any) -> list[str]:
        sync = strava.sync(engine)
        strava.new_requests()
        import_details(sync, JUNE, **how)
        import_streams(sync, JUNE, **how)
        return strava.new_requests()

    assert len(asked(due=True)) == 4
    assert asked(due=True) == []
    with engine.begin() as connection:
        connection.execute(update(put_aside).where(put_aside.c.step == "detail").values(retry_at=LONG_AGO))
    assert asked(due=True) == ["/activities/2"]
    assert asked() == ["/activities/1/streams"]
    assert stored(engine) == []


def test_what_is_gone_is_out_of_quarantine_with_the_next_listing(strava: StravaStandIn, engine: Engine) -> None:
    strava.delete(2)
    sync = strava.sync(engine)
    import_details(sync, JUNE)
    assert len(stored(engine)) == 1
    import_listed(sync, [JUNE])
    assert stored(engine) == []


def test_what_is_gone_is_out_of_quarantine_though_the_listing_begins_later_now(
    strava: StravaStandIn, engine: Engine
) -> None:
    """What is older than ``STRAVA_RETENTION_DAYS`` is listed no more."""
    both = Span(RIDER, JUNE.start, month_span(RIDER, JUNE.end).end)
    july = month_span(RIDER, JUNE.end)
    with engine.begin() as connection:
        add_to_quarantine(connection, both, ImportStep.SUMMARY, {3: "it has no start", 4: "it has no start"})
    strava.add(4, july.start.replace(day=1))
    import_listed(strava.sync(engine), [july])
    assert [row["activity_id"] for row in stored(engine)] == [3]
    import_listed(replace(strava.sync(engine), keep_from=july.start.replace(day=3)), [july])
    assert stored(engine) == []


def test_an_activity_that_is_deleted_meanwhile_is_not_put_aside(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    with engine.connect() as deleting, ThreadPoolExecutor() as threads:
        delete_activities(deleting, [2])

        def put() -> None:
            with engine.begin() as connection:
                add_to_quarantine(connection, JUNE, ImportStep.DETAIL, {1: "odd", 2: "gone"}, PutAside.HIDDEN)

        putting = threads.submit(put)
        wait_for_a_lock(engine, 1)
        deleting.commit()
        putting.result(timeout=PATIENCE_SECONDS)
    assert [row["activity_id"] for row in stored(engine)] == [1]


def test_what_is_put_aside_while_it_is_deleted_goes_with_it(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    with engine.connect() as putting, ThreadPoolExecutor() as threads:
        add_to_quarantine(putting, JUNE, ImportStep.DETAIL, {2: "gone"}, PutAside.HIDDEN)

        def delete() -> None:
            with engine.begin() as connection:
                delete_activities(connection, [2])

        deleting = threads.submit(delete)
        wait_for_a_lock(engine, 1)
        putting.commit()
        deleting.result(timeout=PATIENCE_SECONDS)
    assert stored(engine) == []
