"""Details fetched anew: the oldest first, at an even pace, from quota that nobody wants."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import (
    MissingScope,
    QuotaExhausted,
    RefreshDelayed,
    RetriableStravaError,
    StravaAway,
    WarehouseError,
)
from strava_pipeline.months import add_months, month_span, month_start
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.upkeep import wants_details
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportStep, PutAside, UpkeepKind
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.work_leases import only_worker
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.upkeeping import LONG_AGO, YESTERDAY, make_due, only, work
from strava_pipeline_tests.wishes import change, wish_for

FAR = date(2000, 1, 1)
RECENT = UpkeepKind.RECENT
LISTING = "/athlete/activities"


@pytest.fixture
def strava(settings: Settings, engine: Engine) -> StravaStandIn:
    connect_riders(engine, RIDER)
    return StravaStandIn()


@pytest.fixture
def detailed(strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> StravaStandIn:
    """Three stored rides of last month, 1 with the oldest detail; 24 details are fetched anew a day."""
    monkeypatch.setenv("STRAVA_UPKEEP_DETAILS_PER_DAY", "24")
    month = month_span(RIDER, add_months(month_start(YESTERDAY.date()), -1))
    for number in (1, 2, 3):
        strava.add(number, month.start + timedelta(days=number))
    import_listed(strava.sync(engine), [month])
    import_details(strava.sync(engine), month)
    import_streams(strava.sync(engine), month)
    for number in (1, 2, 3):
        with engine.begin() as connection:
            is_detail = (payloads.c.activity_id == number, payloads.c.kind == "detail")
            old = YESTERDAY - timedelta(days=40 - number)
            connection.execute(update(payloads).where(payloads.c.activity_id == number).values(fetched_at=old))
            connection.execute(update(payloads).where(*is_detail).values(fetched_at=old + timedelta(hours=1)))
            connection.execute(update(activities).where(activities.c.id == number).values(fetched_at=old))
    work(strava, engine, tasks=3)
    strava.new_requests()
    return strava


def turns_ago(engine: Engine, count: int) -> None:
    """So many turns of details have come that nobody took."""
    with engine.begin() as connection:
        due.take_detail(connection, 24)
        moment = now(connection) - timedelta(hours=count) + timedelta(minutes=1)
        connection.execute(update(upkeep).where(upkeep.c.kind == UpkeepKind.DETAILS).values(due_at=moment))


def aside(engine: Engine) -> list[tuple[int, str, str]]:
    with engine.connect() as connection:
        found = connection.execute(select(put_aside.c.activity_id, put_aside.c.reason, put_aside.c.kind))
        return [(row.activity_id, row.reason, row.kind) for row in found]


def test_what_only_a_detail_tells_is_fetched_anew_oldest_first_at_an_even_pace(
    detailed: StravaStandIn, engine: Engine
) -> None:
    detailed.edit(1, description="a second thought")
    turns_ago(engine, 1)
    assert work(detailed, engine).changes == {"details fetched anew": 1}
    assert detailed.new_requests() == ["/activities/1"]
    with engine.connect() as connection:
        told = connection.execute(select(activities.c.description).where(activities.c.id == 1)).scalar()
    assert told == "a second thought"
    work(detailed, engine)
    assert detailed.new_requests() == []
    # Of turns that nobody took, at most an hour's are caught up with.
    turns_ago(engine, 20)
    work(detailed, engine)
    assert detailed.new_requests() == ["/activities/2", "/activities/3"]
    turns_ago(engine, 20)
    work(detailed, engine)
    # All are newer than a week by now.
    assert detailed.new_requests() == []


def test_details_are_fetched_anew_only_from_quota_that_nobody_wants(
    detailed: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns_ago(engine, 1)
    wish_for(engine, FAR, FAR)
    work(detailed, engine)
    assert detailed.new_requests() == []
    change(engine, whole_at=LONG_AGO)
    detailed.faults["/activities/1"] = [QuotaExhausted("none left", retry_at=LONG_AGO)]
    assert work(detailed, engine).stopped is None
    assert detailed.new_requests() == ["/activities/1"]
    monkeypatch.setenv("STRAVA_UPKEEP_DETAILS_PER_DAY", "0")
    turns_ago(engine, 1)
    work(detailed, engine)
    assert detailed.new_requests() == []


def test_an_activity_that_strava_shows_no_more_does_not_keep_the_others_from_their_turn(
    detailed: StravaStandIn, engine: Engine
) -> None:
    detailed.delete(1)
    turns_ago(engine, 2)
    work(detailed, engine)
    assert detailed.new_requests() == ["/activities/1", "/activities/2"]
    with engine.connect() as connection:
        assert connection.execute(select(put_aside.c.activity_id, put_aside.c.kind)).all() == [(1, "hidden")]


def test_streams_of_a_crop_that_nothing_told_of_are_imported(detailed: StravaStandIn, engine: Engine) -> None:
    detailed.edit(1, elapsed_time=100)
    turns_ago(engine, 1)
    work(detailed, engine)
    with engine.connect() as connection:
        wish = connection.execute(select(imports)).one()
    assert (wish.made_by, wish.first_month) == ("upkeep", add_months(month_start(YESTERDAY.date()), -1).date())


def test_a_run_is_worth_it_once_an_hours_details_wait(engine: Engine) -> None:
    with engine.begin() as connection:
        assert due.details_are_due(connection)
        assert due.take_detail(connection, 24)
        assert not due.take_detail(connection, 24)
        assert not due.details_are_due(connection)
        connection.execute(update(upkeep).values(due_at=now(connection) - timedelta(hours=1)))
        assert due.details_are_due(connection)


def test_details_are_fetched_anew_while_upkeeps_share_is_used_up(detailed: StravaStandIn, engine: Engine) -> None:
    turns_ago(engine, 1)
    make_due(engine, upkeep.c.kind == RECENT)
    detailed.faults[LISTING] = [QuotaExhausted("its share is used", retry_at=LONG_AGO)]
    assert work(detailed, engine).stopped == "its share is used"
    assert detailed.new_requests() == [LISTING, "/activities/1"]


def test_an_import_that_its_athlete_holds_up_keeps_no_detail_from_its_turn(
    detailed: StravaStandIn, engine: Engine
) -> None:
    turns_ago(engine, 1)
    connect_riders(engine, RIDER + 1, state="needs_reauth")
    wish_for(engine, FAR, FAR, athlete_id=RIDER + 1)
    work(detailed, engine)
    assert detailed.new_requests() == ["/activities/1"]


def test_details_of_an_athlete_who_shows_none_are_left_alone(detailed: StravaStandIn, engine: Engine) -> None:
    turns_ago(engine, 1)
    with engine.begin() as connection:
        connection.execute(update(users).values(scopes=["read"]))
    work(detailed, engine)
    assert detailed.new_requests() == []


def test_a_run_for_details_is_worth_it_only_if_some_are_old_and_no_import_wants_the_quota(
    detailed: StravaStandIn, engine: Engine
) -> None:
    turns_ago(engine, 2)

    def wanted() -> bool:
        with engine.begin() as connection:
            return wants_details(connection, load_settings())

    assert wanted()
    wish_for(engine, FAR, FAR)
    assert not wanted()
    change(engine, whole_at=LONG_AGO)
    assert wanted()
    with engine.begin() as connection:
        connection.execute(update(payloads).values(fetched_at=now(connection)))
    assert not wanted()


@pytest.fixture
def with_another(detailed: StravaStandIn, engine: Engine) -> StravaStandIn:
    """A second athlete's ride, with a detail that is not as old; the turn of one detail has come."""
    connect_riders(engine, RIDER + 1)
    detailed.add(4, YESTERDAY, athlete={"id": RIDER + 1})
    bring_up_to_date(detailed.sync(engine), RIDER + 1, 4)
    with engine.begin() as connection:
        old = YESTERDAY - timedelta(days=10)
        connection.execute(update(payloads).where(payloads.c.activity_id == 4).values(fetched_at=old))
    work(detailed, engine, tasks=2)
    turns_ago(engine, 1)
    detailed.new_requests()
    return detailed


@pytest.mark.parametrize(
    "error",
    [
        StravaAway("OAuth does not answer", since=LONG_AGO, retry_at=LONG_AGO, refreshes_only=True),
        RefreshDelayed("the refresh failed just now", retry_at=LONG_AGO),
        MissingScope("not granted"),
    ],
)
def test_an_athlete_who_cannot_be_served_now_leaves_the_turn_to_the_next_one(
    with_another: StravaStandIn, engine: Engine, error: Exception
) -> None:
    with_another.faults["/activities/1"] = [error]
    worked = work(with_another, engine)
    assert (worked.changes, worked.stopped) == ({"details fetched anew": 1}, None)
    assert with_another.new_requests() == ["/activities/1", "/activities/4"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MissingScope("GET /activities/1: missing", status=403), PutAside.HIDDEN),
        (RetriableStravaError("Strava refuses the token that it has just issued"), PutAside.UNANSWERED),
        (WarehouseError("a value is out of range"), PutAside.UNUSABLE),
    ],
)
def test_a_detail_that_cannot_be_fetched_is_put_aside(
    detailed: StravaStandIn, engine: Engine, error: Exception, kind: PutAside
) -> None:
    turns_ago(engine, 1)
    detailed.faults["/activities/1"] = [error]
    work(detailed, engine)
    turns_ago(engine, 1)
    assert work(detailed, engine).changes == {"details fetched anew": 1}
    assert detailed.new_requests()[:2] == ["/activities/1", "/activities/2"]
    assert aside(engine) == [(1, str(error), kind)]


def test_a_fault_of_ours_is_raised_after_its_detail_was_put_aside_and_others_fetched(
    detailed: StravaStandIn, engine: Engine
) -> None:
    turns_ago(engine, 2)
    detailed.faults["/activities/1"] = [ZeroDivisionError("somebody's data")]
    with pytest.raises(ZeroDivisionError):
        work(detailed, engine)
    assert detailed.new_requests() == ["/activities/1", "/activities/2"]
    assert aside(engine) == [(1, "a fault of this program: ZeroDivisionError", PutAside.UNUSABLE)]


def test_an_athlete_whose_token_cannot_be_refreshed_has_no_activity_put_aside(
    with_another: StravaStandIn, engine: Engine
) -> None:
    with_another.faults["/activities/1"] = [RefreshDelayed("the refresh failed just now", retry_at=LONG_AGO)]
    work(with_another, engine)
    assert aside(engine) == []


def test_a_strava_that_is_away_ends_the_turns_of_all(with_another: StravaStandIn, engine: Engine) -> None:
    with_another.faults["/activities/1"] = [StravaAway("away", since=LONG_AGO, retry_at=LONG_AGO)]
    assert not work(with_another, engine).changes
    assert with_another.new_requests() == ["/activities/1"]


def test_a_month_that_a_backfill_is_at_is_left_out_and_not_waited_for(detailed: StravaStandIn, engine: Engine) -> None:
    other = RIDER + 1
    connect_riders(engine, other)
    month = month_span(RIDER, add_months(month_start(YESTERDAY.date()), -1))
    with engine.begin() as connection:
        connection.execute(update(activities).where(activities.c.id == 3).values(athlete_id=other))
        connection.execute(update(payloads).where(payloads.c.activity_id == 3).values(athlete_id=other))
        due.add_missing(connection)
    only(engine, UpkeepKind.DETAILS)
    detailed.edit(3, athlete={"id": other})
    turns_ago(engine, 1)
    with only_worker(engine, RIDER, f"the {ImportStep.DETAIL} of {month.months}", lambda _pause_s: None):
        worked = work(detailed, engine)
    assert (worked.changes, worked.failed) == ({"details fetched anew": 1}, {})
    assert detailed.new_requests() == ["/activities/3"]
    assert aside(engine) == []
