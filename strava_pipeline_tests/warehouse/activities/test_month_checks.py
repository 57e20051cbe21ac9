"""Months that changed are checked once each, by whoever comes, whatever dies or changes meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, update

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import month_span
from strava_pipeline.strava.mapping.activity import digest
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.webhook import sync_activity
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities import month_checks as checking
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.activities.quality import Missing, recorded_twice, without_detail, without_streams
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine, release_from_quarantine
from strava_pipeline.warehouse.activities.remapping import remap
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.inbox.claims import refresh_claim
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import ImportStep, PayloadKind
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import LONG_AGO, claim_one, connect_riders, store
from strava_pipeline_tests.month_counts import counts_after_a_check, counts_of_everything
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

MAY, JUNE = (month_span(RIDER, datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 6))
A_YEAR = timedelta(days=365)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Two rides in June and one in May, all of them listed only."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, month in ((1, JUNE), (2, JUNE), (3, MAY)):
        strava.add(number, month.start + timedelta(days=number))
    import_listed(strava.sync(engine), [MAY, JUNE])
    return strava


def incomplete(engine: Engine) -> list[Missing]:
    with engine.connect() as connection:
        return without_detail(connection)


def marks(engine: Engine) -> set[date]:
    with engine.connect() as connection:
        return set(connection.execute(select(changed_months.c.month)).scalars())


def erase(engine: Engine) -> None:
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="test")


def mark(connection: Connection, *months: date) -> None:
    connection.execute(insert(changed_months), [{"athlete_id": RIDER, "month": month} for month in months])


def test_each_month_that_changed_is_checked_once(strava: StravaStandIn, engine: Engine) -> None:
    assert check_changed_months(engine) == 2
    assert check_changed_months(engine) == 0
    assert incomplete(engine) == [Missing(RIDER, 3, 0)]
    import_details(strava.sync(engine), JUNE)
    assert incomplete(engine) == [Missing(RIDER, 3, 0)]
    assert check_changed_months(engine) == 1
    assert incomplete(engine) == [Missing(RIDER, 1, 0)]


def test_what_is_put_aside_counts_as_explained_until_it_is_stored(strava: StravaStandIn, engine: Engine) -> None:
    strava.faults |= {"/activities/1": [RejectedRequest("odd")], "/activities/2/streams": [RejectedRequest("odd")]}
    import_details(strava.sync(engine), JUNE)
    import_streams(strava.sync(engine), JUNE)
    check_changed_months(engine)
    with engine.connect() as connection:
        assert without_detail(connection) == [Missing(RIDER, 1, 1)]
        assert without_streams(connection) == [Missing(RIDER, 1, 1)]
    import_details(strava.sync(engine), JUNE)
    import_streams(strava.sync(engine), JUNE)
    check_changed_months(engine)
    with engine.connect() as connection:
        assert without_detail(connection) == [Missing(RIDER, 1, 0)]
        assert without_streams(connection) == [Missing(RIDER, 1, 0)]


def test_what_is_put_aside_or_released_alone_changes_its_month(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    check_changed_months(engine)
    with engine.begin() as connection:
        add_to_quarantine(connection, JUNE, ImportStep.DETAIL, {1: "odd"})
    assert check_changed_months(engine) == 1
    assert incomplete(engine) == [Missing(RIDER, 2, 1)]
    with engine.begin() as connection:
        release_from_quarantine(connection, ImportStep.DETAIL, [1])
    assert check_changed_months(engine) == 1
    assert incomplete(engine) == [Missing(RIDER, 3, 0)]


def test_a_title_that_an_event_tells_can_make_an_outdated_detail_current(strava: StravaStandIn, engine: Engine) -> None:
    import_details(strava.sync(engine), JUNE)
    listed = payloads.alias("listed")
    with engine.begin() as connection:
        body = connection.execute(select(listed.c.body).where(listed.c.activity_id == 1).limit(1)).scalar_one()
        # The detail has the new title already, and was asked for before the listing that lacks it.
        is_detail = (payloads.c.activity_id == 1, payloads.c.kind == PayloadKind.DETAIL)
        told = {"digest": digest(body | {"name": "New"}), "fetched_at": LONG_AGO}
        connection.execute(update(payloads).where(*is_detail).values(told))
        connection.execute(update(activities).values(fetched_at=LONG_AGO))
    check_changed_months(engine)
    assert incomplete(engine) == [Missing(RIDER, 2, 0)]
    store(engine, 1, aspect_type="update", updates={"title": "New"})
    claim = refresh_claim(engine, claim_one(engine).fence)
    assert claim is not None
    requests = strava.new_requests()
    sync_activity(strava.sync(engine), claim)
    assert requests
    assert f"/activities/{claim.activity_id}" not in strava.new_requests()
    assert counts_after_a_check(engine) == counts_of_everything(engine)
    assert incomplete(engine) == [Missing(RIDER, 1, 0)]


def test_a_re_map_that_moves_an_activity_changes_both_months(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    with engine.begin() as connection:
        # As if an earlier version had read its start wrongly.
        connection.execute(update(activities).where(activities.c.id == 3).values(start_date=JUNE.end))
        mark(connection, MAY.start.date(), JUNE.end.date())
    assert set(counts_after_a_check(engine)) == {(RIDER, JUNE.start.date()), (RIDER, JUNE.end.date())}
    assert sum(batch.rebuilt for batch in remap(engine, before=datetime.now(UTC))) == 3
    assert counts_after_a_check(engine) == counts_of_everything(engine)
    assert set(counts_after_a_check(engine)) == {(RIDER, MAY.start.date()), (RIDER, JUNE.start.date())}


def test_a_month_that_an_activity_left_is_checked_as_well(strava: StravaStandIn, engine: Engine) -> None:
    check_changed_months(engine)
    strava.edit(3, start_date="2025-06-20T08:00:00Z")
    import_listed(strava.sync(engine), [MAY, JUNE])
    assert check_changed_months(engine) == 2
    with engine.connect() as connection:
        months = connection.execute(select(month_checks.c.month, month_checks.c.lacks_detail)).all()
    assert [tuple(row) for row in months] == [(JUNE.start.date(), 3)]


def test_the_newest_of_many_that_were_recorded_twice_are_named(strava: StravaStandIn, engine: Engine) -> None:
    for number, twin in ((1, 11), (2, 12), (3, 13)):
        strava.add(twin, datetime.fromisoformat(strava.activities[number]["start_date"]))
    import_listed(strava.sync(engine), [MAY, JUNE])
    check_changed_months(engine)
    with engine.connect() as connection:
        assert [(odd.activity_id, odd.what) for odd in recorded_twice(connection, 2)] == [
            (12, "as activity 2"),
            (11, "as activity 1"),
        ]
        assert len(recorded_twice(connection)) == 3


def test_a_process_that_dies_leaves_the_marks_of_its_batch(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert strava.activities
    with engine.begin() as connection:
        connection.execute(changed_months.delete())
        mark(connection, MAY.start.date(), JUNE.start.date())
    whole = checking._store
    stored: list[Any] = []

    def dies(connection: Connection, months: Any, moment: datetime) -> None:
        if stored:
            raise KeyboardInterrupt
        stored.append(months)
        whole(connection, months, moment)

    monkeypatch.setattr(checking, "_store", dies)
    with pytest.raises(KeyboardInterrupt):
        check_changed_months(engine, batch=1)
    assert marks(engine) == {JUNE.start.date()}
    monkeypatch.setattr(checking, "_store", whole)
    assert check_changed_months(engine) == 1
    assert counts_after_a_check(engine) == counts_of_everything(engine)


def test_of_two_at_once_one_waits_and_finds_nothing_left(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    with engine.connect() as other, ThreadPoolExecutor() as threads:
        acquire(other, Lock.CHECKS)
        checks = [threads.submit(check_changed_months, engine) for _ in range(2)]
        wait_for_a_lock(engine, 2)
        other.commit()
        assert sorted(check.result(timeout=PATIENCE_SECONDS) for check in checks) == [0, 2]
    assert counts_after_a_check(engine) == counts_of_everything(engine)


def test_what_changes_while_its_month_is_checked_is_checked_by_the_next(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = checking._store

    def is_overtaken(connection: Connection, months: Any, moment: datetime) -> None:
        whole(connection, months, moment)
        import_details(strava.sync(engine), JUNE)

    monkeypatch.setattr(checking, "_store", is_overtaken)
    # Marks that come meanwhile are left alone, so a check ends however many come.
    assert check_changed_months(engine) == 2
    assert incomplete(engine) == [Missing(RIDER, 3, 0)]
    monkeypatch.setattr(checking, "_store", whole)
    assert check_changed_months(engine) == 1
    assert counts_after_a_check(engine) == counts_of_everything(engine)


def test_nothing_of_an_athlete_is_counted_after_an_erasure(strava: StravaStandIn, engine: Engine) -> None:
    check_changed_months(engine)
    import_details(strava.sync(engine), JUNE)
    with ThreadPoolExecutor() as threads, engine.connect() as other:
        acquire(other, Lock.CHECKS)
        checked = threads.submit(check_changed_months, engine)
        wait_for_a_lock(engine, 1)
        erase(engine)
        other.commit()
        checked.result(timeout=PATIENCE_SECONDS)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(month_checks)).scalar() == 0
    assert marks(engine) == set()


def test_what_an_erasure_has_yet_to_delete_is_not_counted(strava: StravaStandIn, engine: Engine) -> None:
    """The counts are deleted in another batch than the activities, which may have passed."""
    check_changed_months(engine)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="test")
    with engine.begin() as connection:
        mark(connection, JUNE.start.date())
        connection.execute(update(month_checks).values(due_at=database_time()))
    assert check_changed_months(engine) > 0
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(activities)).scalar_one() > 0
        assert connection.execute(select(func.count()).select_from(month_checks)).scalar() == 0
    assert marks(engine) == set()


def test_an_erasure_waits_for_a_check_under_way_and_deletes_what_it_found(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert strava.activities
    whole = checking._store
    with ThreadPoolExecutor() as threads:
        erasures = []

        def meets_an_erasure(connection: Connection, months: Any, moment: datetime) -> None:
            whole(connection, months, moment)
            erasures.append(threads.submit(erase, engine))
            wait_for_a_lock(engine, 1)

        monkeypatch.setattr(checking, "_store", meets_an_erasure)
        check_changed_months(engine)
        erasures[0].result(timeout=PATIENCE_SECONDS)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(month_checks)).scalar() == 0


def test_the_month_of_what_was_deleted_has_no_counts(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    check_changed_months(engine)
    with engine.begin() as connection:
        delete_activities(connection, [3])
    assert check_changed_months(engine) == 1
    with engine.connect() as connection:
        assert list(connection.execute(select(month_checks.c.month)).scalars()) == [JUNE.start.date()]


def test_a_detail_from_a_clock_that_was_ahead_lacks_until_its_time_has_come(
    strava: StravaStandIn, engine: Engine
) -> None:
    import_details(strava.sync(engine), JUNE)
    with engine.begin() as connection:
        # Strava's detail differs from its listing, and was asked for later: it knows better.
        connection.execute(update(payloads).where(payloads.c.kind == "detail").values(digest="other"))
    check_changed_months(engine)
    assert incomplete(engine) == [Missing(RIDER, 1, 0)]
    with engine.begin() as connection:
        # The database's clock is set back: all times of before lie ahead.
        connection.execute(update(payloads).values(fetched_at=payloads.c.fetched_at + A_YEAR))
        connection.execute(update(month_checks).values(checked_at=month_checks.c.checked_at + A_YEAR))
    assert check_changed_months(engine) == 2
    assert incomplete(engine) == [Missing(RIDER, 3, 0)]
    assert check_changed_months(engine) == 0
    with engine.begin() as connection:
        due_at = connection.execute(select(month_checks.c.due_at).where(month_checks.c.due_at.is_not(None)))
        assert due_at.scalar_one() > connection.execute(select(database_time() + A_YEAR / 2)).scalar_one()
        # A year has passed.
        connection.execute(update(payloads).values(fetched_at=payloads.c.fetched_at - A_YEAR))
        connection.execute(update(month_checks).values(due_at=month_checks.c.due_at - A_YEAR))
    assert check_changed_months(engine) == 1
    assert incomplete(engine) == [Missing(RIDER, 1, 0)]
    assert counts_after_a_check(engine) == counts_of_everything(engine)


def test_more_months_than_a_batch_takes_are_all_checked(strava: StravaStandIn, engine: Engine) -> None:
    assert strava.activities
    assert check_changed_months(engine, batch=1) >= 2
    with engine.begin() as connection:
        connection.execute(update(month_checks).values(checked_at=database_time() + A_YEAR))
    assert check_changed_months(engine, batch=1) == 2
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(activities)).scalar() == 3
    assert counts_after_a_check(engine) == counts_of_everything(engine)
