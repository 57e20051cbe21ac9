"""What was written while the database's clock was ahead neither holds work up nor makes it go on for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, insert, select, update

from strava_pipeline.errors import NotFound, RefreshDelayed, RejectedRequest
from strava_pipeline.months import month_span, month_start
from strava_pipeline.sync.backfill import ATTEMPTS, import_details, import_streams
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.sync.recent import compare_recent
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.activities.activity_store import Unlisted
from strava_pipeline.warehouse.activities.quarantine import add_to_quarantine
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.failed_months import note_failed, steps_for_later
from strava_pipeline.warehouse.imports.wishes import any_wants_quota
from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline.warehouse.inbox.dead_letters import redrive_due
from strava_pipeline.warehouse.mail.mail_queue import any_due
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import histories, imports
from strava_pipeline.warehouse.schema.work_tables import work_leases
from strava_pipeline.warehouse.states import EventState, ImportState, ImportStep, MailKind, MailState, UpkeepKind
from strava_pipeline.warehouse.tokens.cool_down import COOL_DOWN, refuse_while_cooling_down
from strava_pipeline.warehouse.tokens.stored_tokens import read_tokens
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests import inbox
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders, store
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.upkeeping import LONG_AGO, YESTERDAY, work
from strava_pipeline_tests.wishes import FLOOR, change, lacks, launch, wish, wish_for

THREE_HOURS, A_YEAR = timedelta(hours=3), timedelta(days=365)
MONTH = month_span(RIDER, month_start(YESTERDAY.date()))
RIDES = (1, 2, 3)
DETAILS = [f"/activities/{ride}" for ride in RIDES]
STREAMS = [f"/activities/{ride}/streams" for ride in RIDES]


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Three rides of this month, newest first, none of which is stored."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for ride in RIDES:
        strava.add(ride, MONTH.start + timedelta(minutes=len(RIDES) - ride))
    return strava


def put_ahead(engine: Engine, column: Any, by: timedelta) -> None:
    """Let a column's times be those of a clock that was ahead."""
    with engine.begin() as connection:
        connection.execute(update(column.table).values({column.name: column + by}))


def run_all(strava: StravaStandIn, engine: Engine) -> int:
    """Work on imports until none is due; returns how many runs that took."""
    hooks = ImportHooks(lambda _step: None, lambda _step, _result: None, lambda span: SpanResult(span, stored=0))
    for number in range(20):
        found = launch(engine)
        if found is None:
            return number
        task = runs.begin(engine, found, f"run-{number}", FLOOR)
        assert task is not None
        work_on_import(strava.sync(engine), task, FLOOR, hooks)
    raise AssertionError("the imports go on for ever")


def value(engine: Engine, column: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(column)).scalar_one()


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_an_import_that_was_asked_for_ahead_lists_once_and_rests(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine, profile=True)
    put_ahead(engine, imports.c.made_at, A_YEAR)
    assert run_all(strava, engine) <= 3
    assert lacks(engine, import_id).nothing
    # The newest month has its own listing, the history another one.
    assert strava.asked.count("/athlete/activities") == 2
    assert strava.asked.count("/athlete") == 1
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.error) == (0, None)
    assert stored.whole_at is not None


@pytest.mark.parametrize("column", ["listed_at", "profile_at"])
def test_a_history_noted_ahead_is_noted_anew(strava: StravaStandIn, engine: Engine, column: str) -> None:
    wish_for(engine, profile=True)
    run_all(strava, engine)
    put_ahead(engine, histories.c[column], A_YEAR)
    wish_for(engine, profile=True)
    run_all(strava, engine)
    with engine.connect() as connection:
        assert connection.execute(select(histories.c[column])).scalar_one() <= now(connection)


def test_months_listed_ahead_are_listed_anew(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [MONTH])
    put_ahead(engine, import_months.c.listed_at, A_YEAR)
    import_id = wish_for(engine, MONTH.start.date(), MONTH.start.date(), steps=[ImportStep.SUMMARY])
    assert lacks(engine, import_id).listing == MONTH
    import_listed(strava.sync(engine), [MONTH])
    assert lacks(engine, import_id).nothing


def test_summaries_stored_ahead_cost_no_request_twice(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [MONTH])
    for column in (activities.c.fetched_at, payloads.c.fetched_at):
        put_ahead(engine, column, THREE_HOURS)
    strava.new_requests()
    sync = strava.sync(engine)
    assert import_details(sync, MONTH).stored == import_streams(sync, MONTH).stored == len(RIDES)
    assert strava.new_requests() == [*DETAILS, *STREAMS]
    assert import_details(sync, MONTH).stored == import_streams(sync, MONTH).stored == 0
    assert strava.new_requests() == []
    with engine.connect() as connection:
        assert connection.execute(select(func.max(activities.c.fetched_at))).scalar_one() <= now(connection)


def test_an_answer_that_cannot_be_stored_is_put_aside(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_listed(strava.sync(engine), [MONTH])
    monkeypatch.setattr(activity_store, "store_detail", lambda *_args: None)
    strava.new_requests()
    result = import_details(strava.sync(engine), MONTH, due=True)
    assert (result.stored, set(result.quarantined)) == (0, set(RIDES))
    assert result.quarantined[1] == "activity 1: newer data kept its detail from being stored"
    assert len(strava.new_requests()) == ATTEMPTS * len(RIDES)
    import_details(strava.sync(engine), MONTH, due=True)
    assert strava.new_requests() == []
    with engine.connect() as connection:
        assert set(connection.execute(select(put_aside.c.retry_at - put_aside.c.since)).scalars()) == {
            timedelta(days=1)
        }


def test_a_detail_stored_ahead_is_fetched_after_an_edit(strava: StravaStandIn, engine: Engine) -> None:
    sync = strava.sync(engine)
    import_listed(sync, [MONTH])
    import_details(sync, MONTH)
    for column in (activities.c.fetched_at, payloads.c.fetched_at):
        put_ahead(engine, column, A_YEAR)
    strava.edit(1, name="Other", description="edited")
    import_listed(sync, [MONTH])
    import_details(sync, MONTH)
    with engine.connect() as connection:
        found = connection.execute(select(activities.c.name, activities.c.description).where(activities.c.id == 1))
        assert tuple(found.one()) == ("Other", "edited")


def test_an_event_about_a_ride_stored_ahead_is_worked_on(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    for column in (activities.c.fetched_at, payloads.c.fetched_at):
        put_ahead(engine, column, A_YEAR)
    strava.edit(1, description="edited")
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    assert value(engine, activities.c.description) == "edited"


def test_a_crop_of_a_ride_stored_ahead_drops_its_samples(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    put_ahead(engine, activities.c.fetched_at, A_YEAR)
    strava.edit(1, elapsed_time=99)
    import_listed(strava.sync(engine), [MONTH])
    assert count(engine, activity_streams) == 0


def test_rides_stored_ahead_are_compared_with_a_listing(strava: StravaStandIn, engine: Engine) -> None:
    for ride in (1, 2):
        strava.add(ride, YESTERDAY + timedelta(minutes=ride))
        bring_up_to_date(strava.sync(engine), RIDER, ride)
    for column in (activities.c.fetched_at, payloads.c.fetched_at):
        put_ahead(engine, column, A_YEAR)
    strava.edit(1, name="Other")
    strava.delete(2)
    strava.delete(3)
    assert compare_recent(strava.sync(engine), RIDER, 0) == {"update": 1, "delete": 1}
    spans = sorted({MONTH, month_span(RIDER, YESTERDAY)}, key=lambda span: span.start)
    import_listed(strava.sync(engine), spans)
    assert value(engine, activities.c.id) == 1


def test_upkeep_and_imports_due_in_a_year_are_due_now(strava: StravaStandIn, engine: Engine) -> None:
    work(strava, engine)
    import_id = wish_for(engine)
    change(engine, newest_at=LONG_AGO)
    assert work(strava, engine).done == {}
    put_ahead(engine, upkeep.c.due_at, A_YEAR)
    put_ahead(engine, imports.c.next_at, A_YEAR)
    with engine.begin() as connection:
        connection.execute(update(upkeep).values(lease_until=now(connection) + A_YEAR))
        assert due.is_due(connection)
        assert any_wants_quota(connection)
        # A task that is due in a year says nothing of how late upkeep is.
        assert due.lag(connection, due.Periods(THREE_HOURS)).due_since is not None
    assert work(strava, engine).done[UpkeepKind.RECENT] == 1
    found = launch(engine)
    assert found is not None
    assert found.import_id == import_id


def test_a_run_with_a_lease_of_a_year_is_looked_after(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    change(engine, state=ImportState.RUNNING, lease_until=datetime.now(UTC) + A_YEAR)
    with engine.begin() as connection:
        assert runs.hold(connection, import_id, timedelta(seconds=15)) is not None


def test_a_worker_with_a_lease_of_a_year_is_not_waited_for(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [MONTH])
    with only_worker(engine, RIDER, f"the {ImportStep.DETAIL} of {MONTH.months}", refuse_to_wait):
        put_ahead(engine, work_leases.c.lease_until, A_YEAR)
        with only_worker(engine, RIDER, f"the {ImportStep.DETAIL} of {MONTH.months}", refuse_to_wait):
            assert count(engine, work_leases) == 1


def refuse_to_wait(_pause_s: float) -> None:
    raise AssertionError("nobody is waited for")


@pytest.mark.parametrize(
    "held_back",
    [
        {"state": EventState.WAITING, "not_before": True},
        {"state": EventState.LAUNCHED, "lease_until": True},
        {"state": EventState.DEAD, "redrive_at": True},
    ],
    ids=repr,
)
def test_an_event_that_waits_for_a_year_is_worked_on_now(engine: Engine, held_back: dict[str, Any]) -> None:
    connect_riders(engine, RIDER)
    store(engine, 1)
    in_a_year = datetime.now(UTC) + A_YEAR
    inbox.change(engine, None, **{name: in_a_year if value is True else value for name, value in held_back.items()})
    with engine.begin() as connection:
        redrive_due(connection)
    (claim,) = claim_objects(engine, 10)
    assert claim.activity_id == 1


def test_a_cool_down_of_a_year_has_ended(engine: Engine) -> None:
    connect_riders(engine, RIDER, refresh_not_before=datetime.now(UTC) + A_YEAR)
    with engine.begin() as connection:
        refuse_while_cooling_down(read_tokens(connection, RIDER))
        connection.execute(update(users).values(refresh_not_before=datetime.now(UTC) + COOL_DOWN))
    with engine.begin() as connection, pytest.raises(RefreshDelayed):
        refuse_while_cooling_down(read_tokens(connection, RIDER))


def test_a_ride_that_was_hidden_ahead_comes_back(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [MONTH])
    ride = strava.activities[2]
    strava.delete(2)
    import_listed(strava.sync(engine), [MONTH])
    put_ahead(engine, tombstones.c.asked_at, A_YEAR)
    strava.activities[2] = ride
    bring_up_to_date(strava.sync(engine), RIDER, 2)
    strava.delete(2)
    bring_up_to_date(strava.sync(engine), RIDER, 2, "delete")
    put_ahead(engine, tombstones.c.asked_at, A_YEAR)
    strava.activities[2] = ride
    import_listed(strava.sync(engine), [MONTH])
    assert count(engine, activities) == len(RIDES)
    assert count(engine, tombstones) == 0


def test_a_listing_during_which_the_clock_is_set_back_deletes_nothing(strava: StravaStandIn, engine: Engine) -> None:
    import_listed(strava.sync(engine), [MONTH])
    with engine.begin() as connection:
        ahead = now(connection) + THREE_HOURS
        replaced = activity_store.replace_span(
            connection, MONTH, [], [], listed={1, 2}, asked_at=ahead, unlisted=Unlisted.DELETE
        )
    assert replaced.deleted == 0


def test_a_mail_that_waits_for_a_year_is_due(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    with engine.begin() as connection:
        row = {"activity_id": 1, "kind": MailKind.RIDE_SUMMARY, "athlete_id": RIDER, "state": MailState.PENDING}
        connection.execute(insert(notifications).values(**row, next_try_at=now(connection) + A_YEAR))
    assert any_due(engine)


def test_turns_of_details_come_again_within_a_day(engine: Engine) -> None:
    with engine.begin() as connection:
        assert due.take_detail(connection, 24)
        assert not due.take_detail(connection, 24)
    put_ahead(engine, upkeep.c.due_at, A_YEAR)
    with engine.begin() as connection:
        assert due.details_are_due(connection)
        assert due.take_detail(connection, 24)
        assert not due.take_detail(connection, 24)
    with engine.connect() as connection:
        assert value(engine, upkeep.c.due_at) - now(connection) <= timedelta(hours=1)


def test_what_was_put_aside_or_failed_until_a_year_from_now_is_tried_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    import_id = wish_for(engine, MONTH.start.date(), MONTH.start.date())
    import_listed(strava.sync(engine), [MONTH])
    with engine.begin() as connection:
        add_to_quarantine(connection, MONTH, ImportStep.DETAIL, {1: "odd"})
        add_to_quarantine(connection, MONTH, ImportStep.SUMMARY, {77: "odd"})
        note_failed(connection, MONTH, ImportStep.STREAMS, "odd")
    change(engine, made_at=LONG_AGO)
    found = lacks(engine, import_id)
    assert (found.later, found.failed, found.listing) == (1, 1, None)
    put_ahead(engine, put_aside.c.retry_at, A_YEAR)
    put_ahead(engine, failed_months.c.retry_at, A_YEAR)
    found = lacks(engine, import_id)
    assert (found.later, found.failed, found.listing) == (0, 0, MONTH)
    with engine.connect() as connection:
        assert steps_for_later(connection, MONTH) == set()
    assert import_details(strava.sync(engine), MONTH, due=True).stored == len(RIDES)


@pytest.mark.parametrize("error", [RejectedRequest("odd"), NotFound("gone")])
def test_what_is_put_aside_for_thirty_days_is_left_alone(
    strava: StravaStandIn, engine: Engine, error: Exception
) -> None:
    """The longest pause is none of a clock that was ahead."""
    import_listed(strava.sync(engine), [MONTH])
    for _ in range(3):
        strava.faults[DETAILS[0]] = [error]
        import_details(strava.sync(engine), MONTH)
    with engine.connect() as connection:
        assert value(engine, put_aside.c.retry_at) - now(connection) > timedelta(days=29)
    strava.new_requests()
    import_details(strava.sync(engine), MONTH, due=True)
    assert strava.new_requests() == []
