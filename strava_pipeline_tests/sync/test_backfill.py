"""Bringing activities up to date: everything once, nothing twice, and one odd activity stops no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, Table, func, select, text

from strava_pipeline.errors import (
    DatabaseUnavailable,
    MissingScope,
    NeedsReauthorization,
    NotAnswered,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaAway,
    WarehouseError,
)
from strava_pipeline.months import Span
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.context import SpanResult, open_sync
from strava_pipeline.warehouse.pauses import Pauses
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.ops_tables import tombstones
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    athlete_stats,
    athlete_zones,
    gear,
    laps,
    metadata,
)
from strava_pipeline_tests.inbox import bring_up_to_date as event
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.warehouse.sessions import end_sessions

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
MAY = Span(RIDER, datetime(2025, 5, 1, tzinfo=UTC), JUNE.start)
LISTING = "/athlete/activities"
WAIT = timedelta(hours=1)


def on(day: int, month: int = 6) -> datetime:
    return datetime(2025, month, day, 8, tzinfo=UTC)


@pytest.fixture
def strava() -> StravaStandIn:
    """Strava with three rides in June, the first of them entered by hand."""
    strava = StravaStandIn()
    strava.add(1, on(1), manual=True)
    strava.add(2, on(2))
    strava.add(3, on(3))
    return strava


def bring_up_to_date(strava: StravaStandIn, engine: Engine, *spans: Span) -> list[list[SpanResult]]:
    """All four steps over the spans, each to its end."""
    sync = strava.sync(engine)
    wanted = spans or (JUNE,)
    return [
        import_listed(sync, wanted),
        [import_details(sync, span) for span in wanted],
        [import_streams(sync, span) for span in wanted],
        [analyse_span(engine, span) for span in wanted],
    ]


def ids(engine: Engine, table: Table) -> list[int]:
    number = table.c.id if table is activities else table.c.activity_id
    with engine.connect() as connection:
        return sorted(set(connection.execute(select(number)).scalars()))


def row(engine: Engine, number: int) -> dict[str, Any]:
    """An activity's row, but for the time of asking."""
    with engine.connect() as connection:
        found = connection.execute(select(activities).where(activities.c.id == number)).mappings().one()
    return {name: told for name, told in found.items() if name != "fetched_at"}


def value(engine: Engine, table: Table, column: str, number: int) -> Any:
    key = table.c.id if table is activities else table.c.activity_id
    with engine.connect() as connection:
        return connection.execute(select(table.c[column]).where(key == number)).scalar_one()


def test_a_month_is_imported_with_two_requests_per_recording(strava: StravaStandIn, engine: Engine) -> None:
    results = bring_up_to_date(strava, engine)
    assert [[result.stored for result in step] for step in results] == [[3], [3], [3], [2]]
    assert sorted(strava.new_requests()) == sorted(
        [LISTING, *(f"/activities/{number}" for number in (1, 2, 3)), "/activities/2/streams", "/activities/3/streams"]
    )
    assert ids(engine, laps) == [1, 2, 3]
    assert ids(engine, route_analyses) == [2, 3]
    assert value(engine, activity_streams, "point_count", 1) == 0
    assert value(engine, route_analyses, "distance_m", 2) == 15.0
    assert value(engine, activities, "resource_state", 2) == 3


def test_a_second_pass_asks_for_nothing_but_the_listing(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.new_requests()
    results = bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING]
    assert [[result.stored for result in step] for step in results] == [[0], [0], [0], [0]]
    assert results[0][0].unchanged == 3


def test_kudos_call_for_no_new_detail_and_a_title_does(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(2, kudos_count=40)
    strava.edit(3, name="Renamed")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/3"]
    assert value(engine, activities, "kudos_count", 2) == 40
    assert value(engine, activities, "name", 3) == "Renamed"


def test_a_detail_that_differs_from_the_listing_is_fetched_once(strava: StravaStandIn, engine: Engine) -> None:
    sync = strava.sync(engine)
    import_listed(sync, [JUNE])
    # Strava lists some rides with 0 m; the detail has the length.
    strava.edit(2, distance=1234.5)
    import_details(sync, JUNE)
    strava.edit(2, distance=1000)
    import_listed(sync, [JUNE])
    strava.new_requests()
    import_details(sync, JUNE)
    assert strava.new_requests() == []


# Of detail and list; a field that is None in the detail is absent there.
UNLIKE = [
    ({"elapsed_time": 599}, {"elapsed_time": 600}),
    ({"elapsed_time": 600}, {"elapsed_time": 599}),
    ({"elapsed_time": 599, "moving_time": 599}, {"elapsed_time": 7200, "moving_time": 7200}),
    ({"commute": False}, {"commute": None}),
    ({"trainer": None}, {"trainer": False}),
    ({"private": None}, {"private": False}),
    ({"gear_id": None}, {"gear_id": ""}),
    ({"start_date": "2025-06-02T08:00:00Z"}, {"start_date": "2025-06-02T10:00:00.000+02:00"}),
    ({"distance": 2995.0}, {"distance": 0.0}),
    ({"total_photo_count": 0}, {"total_photo_count": 3}),
    ({"total_elevation_gain": 10.0, "visibility": "everyone"}, {"total_elevation_gain": 11.0, "visibility": None}),
]


@pytest.mark.parametrize(("detail", "listed"), UNLIKE, ids=str)
def test_a_list_unlike_its_detail_costs_one_listing(
    strava: StravaStandIn, engine: Engine, detail: dict[str, Any], listed: dict[str, Any]
) -> None:
    strava.edit(2, **detail)
    strava.listed_unlike[2] = listed
    bring_up_to_date(strava, engine)
    told = row(engine, 2)
    assert told | detail == told | {name: detail[name] for name in detail if name == "start_date"}
    for kudos in (5, 6, 6):
        # Kudos call for the summary to be written, and for nothing else.
        strava.edit(2, kudos_count=kudos)
        strava.new_requests()
        bring_up_to_date(strava, engine)
        assert strava.new_requests() == [LISTING]
        assert row(engine, 2) == told | {"kudos_count": kudos}
    assert ids(engine, activity_streams) == [1, 2, 3]


@pytest.mark.parametrize(
    "listed",
    [
        {"name": "Ride 2, listed"},
        {"sport_type": "Ride"},
        {"gear_id": "b9"},
        {"trainer": True},
        {"private": True, "visibility": "only_me"},
        {"start_date": "2025-06-02T08:00:01Z"},
        {"name": "Listed", "elapsed_time": 600, "distance": 0.0},
    ],
    ids=str,
)
def test_an_editable_field_that_two_readings_tell_unlike_is_no_edit(
    strava: StravaStandIn, engine: Engine, listed: dict[str, Any]
) -> None:
    strava.listed_unlike[2] = listed
    bring_up_to_date(strava, engine)
    told = row(engine, 2)
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2"]
    assert row(engine, 2) == told
    for _ in range(2):
        bring_up_to_date(strava, engine)
        assert strava.new_requests() == [LISTING]
        assert row(engine, 2) == told
    # An edit is still seen.
    strava.edit(2, description="another", commute=True)
    bring_up_to_date(strava, engine)
    assert "/activities/2" in strava.new_requests()
    assert value(engine, activities, "commute", 2) is True


def test_an_edit_of_an_activity_with_two_lengths_costs_no_samples(strava: StravaStandIn, engine: Engine) -> None:
    strava.listed_unlike[2] = {"elapsed_time": 211}
    bring_up_to_date(strava, engine)
    strava.edit(2, name="Renamed")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2"]
    assert value(engine, activities, "name", 2) == "Renamed"
    assert ids(engine, route_analyses) == [2, 3]
    # A crop changes both, and calls for new samples.
    strava.edit(2, elapsed_time=100)
    strava.listed_unlike[2] = {"elapsed_time": 101}
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2", "/activities/2/streams"]


def test_an_activity_that_a_webhook_brought_is_fetched_once_more_if_it_is_listed_unlike(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.listed_unlike[2] = {"name": "Listed", "distance": 0.0}
    connect_riders(engine, RIDER)
    event(strava.sync(engine), RIDER, 2)
    told = row(engine, 2)
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests().count("/activities/2") == 1
    assert row(engine, 2) == told
    # An event that tells nothing new changes nothing about it.
    event(strava.sync(engine), RIDER, 2, "update")
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING]
    assert row(engine, 2) == told


def test_a_deleted_activity_goes_with_everything_that_hangs_on_it(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.delete(2)
    results = bring_up_to_date(strava, engine)
    assert results[0][0].deleted == 1
    for table in metadata.tables.values():
        if "activity_id" in table.c:
            assert (2 in ids(engine, table)) is (table is tombstones), table.name


def test_a_cropped_activity_gets_its_streams_anew(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(3, elapsed_time=100)
    strava.streams[3] = {"time": {"data": [0, 1]}, "distance": {"data": [0.0, 5.0]}}
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/3", "/activities/3/streams"]
    assert value(engine, route_analyses, "point_count", 3) == 2


def test_several_months_take_one_listing_and_an_activity_that_moved_is_kept_once(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.add(4, on(30, month=5))
    bring_up_to_date(strava, engine, JUNE, MAY)
    strava.edit(4, start_date="2025-06-01T00:00:00Z")
    strava.new_requests()
    june, may = bring_up_to_date(strava, engine, JUNE, MAY)[0]
    assert strava.new_requests().count(LISTING) == 1
    assert (june.stored, june.unchanged) == (1, 3)
    assert (may.stored, june.deleted, may.deleted) == (0, 0, 0)
    assert ids(engine, activities) == [1, 2, 3, 4]
    assert value(engine, activities, "start_date", 4) == JUNE.start


def test_a_month_that_begins_with_a_ride_keeps_it(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(4, JUNE.start)
    strava.add(5, JUNE.end)
    bring_up_to_date(strava, engine)
    assert ids(engine, activities) == [1, 2, 3, 4]


def test_more_than_a_page_is_listed_whole(engine: Engine) -> None:
    strava = StravaStandIn()
    for number in range(401):
        strava.add(number + 1, JUNE.start + timedelta(minutes=number))
    (result,) = import_listed(strava.sync(engine), [JUNE])
    assert result.stored == 401
    assert strava.new_requests() == [LISTING] * 3


def test_a_listing_that_lost_most_of_a_month_deletes_nothing(engine: Engine) -> None:
    strava = StravaStandIn()
    for number in range(1, 13):
        strava.add(number, on(number))
    bring_up_to_date(strava, engine)
    for number in range(1, 8):
        strava.delete(number)
    with pytest.raises(WarehouseError, match="allow_mass_delete"):
        import_listed(strava.sync(engine), [JUNE])
    assert len(ids(engine, activities)) == 12
    (result,) = import_listed(strava.sync(engine), [JUNE], allow_mass_delete=True)
    assert result.deleted == 7


@pytest.mark.parametrize(
    "change",
    [{"start_date": "yesterday"}, {"moving_time": 2**40}, {"name": None}, {"distance": "far"}],
    ids=str,
)
def test_an_odd_summary_is_put_aside_and_nothing_of_it_is_deleted(
    strava: StravaStandIn, engine: Engine, change: dict[str, Any]
) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(2, **change)
    strava.edit(3, name="Renamed")
    (result,) = import_listed(strava.sync(engine), [JUNE])
    assert list(result.quarantined) == [2]
    assert ids(engine, activities) == [1, 2, 3]
    assert ids(engine, activity_streams) == [1, 2, 3]
    assert value(engine, activities, "name", 3) == "Renamed"


def test_an_activity_that_cannot_be_told_ends_the_listing_before_anything_is_deleted(
    strava: StravaStandIn, engine: Engine
) -> None:
    bring_up_to_date(strava, engine)
    strava.edit(2, id=2**63)
    with pytest.raises(RejectedRequest, match="without a usable id"):
        import_listed(strava.sync(engine), [JUNE])
    assert ids(engine, activities) == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"laps": [{"id": None, "name": "no id"}]},
        {"splits_metric": [{"split": 2**40}]},
        {"segment_efforts": [{"id": 2**63}]},
        {"calories": "many"},
    ],
    ids=str,
)
def test_an_odd_detail_is_put_aside_and_the_rest_goes_on(
    strava: StravaStandIn, engine: Engine, change: dict[str, Any]
) -> None:
    strava.edit(2, **change)
    results = bring_up_to_date(strava, engine)
    assert list(results[1][0].quarantined) == [2]
    assert ids(engine, laps) == [1, 3]
    assert ids(engine, route_analyses) == [2, 3]


def test_children_that_strava_lists_twice_are_stored_once(strava: StravaStandIn, engine: Engine) -> None:
    twice = strava.activities[2]["laps"] * 2
    strava.edit(2, laps=twice)
    results = bring_up_to_date(strava, engine)
    assert results[1][0].quarantined == {}
    with engine.connect() as connection:
        query = select(func.count()).select_from(laps).where(laps.c.activity_id == 2)
        assert connection.execute(query).scalar_one() == 2


def broken(number: int = 0) -> NotAnswered:
    return NotAnswered(f"activity {number}: Strava answered 500", status=500)


def test_one_activity_that_answers_500_is_put_aside_and_asked_for_again_next_time(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.faults["/activities/2"] = [broken(2)]
    strava.faults["/activities/3/streams"] = [RejectedRequest("activity 3: stream time holds no list")]
    results = bring_up_to_date(strava, engine)
    assert results[1][0].quarantined == {2: "activity 2: Strava answered 500"}
    assert results[1][0].stored == 2
    assert list(results[2][0].quarantined) == [3]
    strava.new_requests()
    bring_up_to_date(strava, engine)
    assert strava.new_requests() == [LISTING, "/activities/2", "/activities/3/streams"]


def test_many_in_a_row_that_are_not_answered_are_put_aside_while_strava_answers_others(
    strava: StravaStandIn, engine: Engine
) -> None:
    for number in (1, 2, 3):
        strava.faults[f"/activities/{number}"] = [broken(number)]
    assert sorted(bring_up_to_date(strava, engine)[1][0].quarantined) == [1, 2, 3]


def test_ten_refusals_in_a_row_end_the_step(strava: StravaStandIn, engine: Engine) -> None:
    for number in range(1, 12):
        strava.add(number, on(number))
        strava.faults[f"/activities/{number}"] = [RejectedRequest(f"activity {number}: refused", status=400)]
    sync = strava.sync(engine)
    import_listed(sync, [JUNE])
    with pytest.raises(RejectedRequest, match="activity 2: refused"):
        import_details(sync, JUNE)


@pytest.mark.parametrize(
    "error",
    [
        RetriableStravaError("no connection"),
        StravaAway("no connection", since=None, retry_at=None),
        QuotaExhausted("used up", retry_at=on(9), status=429),
        NeedsReauthorization("dead"),
        DatabaseUnavailable("away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_about_one_activity_ends_the_step_at_once(
    strava: StravaStandIn, engine: Engine, error: Exception
) -> None:
    strava.faults["/activities/2"] = [error]
    sync = strava.sync(engine)
    import_listed(sync, [JUNE])
    with pytest.raises(type(error)):
        import_details(sync, JUNE)
    # Newest first: what came before the fault is kept.
    assert ids(engine, laps) == [3]


def test_a_database_that_starts_anew_after_each_answer_costs_no_second_request(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = strava.get

    def answer_and_restart(*args: Any, **more: Any) -> Any:
        found = ask(*args, **more)
        end_sessions(engine)
        return found

    monkeypatch.setattr(strava, "get", answer_and_restart)
    results = bring_up_to_date(strava, engine)
    assert [[result.stored for result in step] for step in results] == [[3], [3], [3], [2]]
    assert len(strava.asked) == len(set(strava.asked)) == 6


def test_an_activity_gone_since_the_listing_is_no_fault(strava: StravaStandIn, engine: Engine) -> None:
    sync = strava.sync(engine)
    import_listed(sync, [JUNE])
    strava.delete(2)
    assert import_details(sync, JUNE).quarantined == {}
    assert import_streams(sync, JUNE).quarantined == {}
    assert ids(engine, laps) == [1, 3]


def test_an_athlete_comes_with_the_gear(strava: StravaStandIn, engine: Engine) -> None:
    assert import_athlete(strava.sync(engine), RIDER) == 1
    with engine.connect() as connection:
        assert connection.execute(select(gear.c.id, gear.c.athlete_id)).all() == [("b1", RIDER)]


def test_totals_and_zones_that_strava_refuses_do_not_hold_the_athlete_up(strava: StravaStandIn, engine: Engine) -> None:
    strava.faults[f"/athletes/{RIDER}/stats"] = [RejectedRequest("odd totals")]
    strava.faults["/athlete/zones"] = [MissingScope("profile:read_all was not granted")]
    assert import_athlete(strava.sync(engine), RIDER) == 1
    assert import_athlete(strava.sync(engine), RIDER) == 1
    with engine.connect() as connection:
        assert connection.execute(select(athlete_stats.c.distance)).scalar_one() == 3000
        assert len(connection.execute(select(athlete_zones)).all()) == 3


def test_what_alone_is_not_answered_does_not_hold_the_athlete_up_and_is_asked_for_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.edit(2, gear_id="b7")
    strava.retired["b7"] = {"id": "b7", "name": "Old"}
    import_listed(strava.sync(engine), [JUNE])
    totals, zones, bike = f"/athletes/{RIDER}/stats", "/athlete/zones", "/gear/b7"
    for path in (totals, zones, bike):
        strava.faults[path] = [NotAnswered("the answer is not Strava's (403, text/html)", status=403, answered=False)]
    assert import_athlete(strava.sync(engine), RIDER) == 1
    with engine.connect() as connection:
        assert list(connection.execute(select(gear.c.id)).scalars()) == ["b1"]
        assert connection.execute(select(athlete_stats)).all() == []
    strava.new_requests()
    assert import_athlete(strava.sync(engine), RIDER) == 2
    assert strava.new_requests() == ["/athlete", totals, zones, bike]
    with engine.connect() as connection:
        assert sorted(connection.execute(select(gear.c.name)).scalars()) == ["Blue", "Old"]
        assert connection.execute(select(athlete_stats)).all() != []


def test_a_month_in_which_nothing_changed_is_not_written_again(strava: StravaStandIn, engine: Engine) -> None:
    bring_up_to_date(strava, engine)
    versions = text(
        "SELECT id, xmin::text FROM strava.activities"
        " UNION ALL SELECT activity_id, xmin::text FROM ops.payloads ORDER BY 1, 2"
    )
    with engine.connect() as connection:
        before = connection.execute(versions).all()
    strava.edit(3, kudos_count=7)
    bring_up_to_date(strava, engine)
    with engine.connect() as connection:
        rewritten = {row.id for row in set(connection.execute(versions)) - set(before)}
    assert rewritten == {3}


def test_the_pace_is_the_configured_one(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_sync(settings, engine, Lane.LIVE, WAIT)
    assert (opened.pace.size, opened.pace.interval_s) == (75, 0)
    assert opened.client.transport.lane is Lane.LIVE
    assert opened.client.transport.max_wait == WAIT


@pytest.mark.parametrize(("lane", "hours"), [(Lane.LIVE, 0), (Lane.RECONCILE, 0), (Lane.BACKFILL, 30)])
def test_a_backfill_waits_out_an_outage_and_events_do_not(
    settings: Settings, engine: Engine, lane: Lane, hours: int
) -> None:
    given = settings.model_copy(update={"outage_patience_hours": 30})
    opened = open_sync(given, engine, lane, WAIT)
    assert opened.client.transport.outage_patience == timedelta(hours=hours)
    # What may not wait for quota waits for nothing.
    assert open_sync(given, engine, lane, timedelta(0)).client.transport.outage_patience == timedelta(0)


def test_each_wait_goes_through_the_pauses_that_are_given(settings: Settings, engine: Engine) -> None:
    def sleep(_: float) -> None:
        raise InterruptedError

    given = Pauses(sleep)
    opened = open_sync(settings.model_copy(update={"quota_short_limit": 1}), engine, Lane.LIVE, WAIT, given)
    assert (opened.pauses, opened.pace.sleep) == (given, sleep)
    transport = opened.client.transport
    reserve = partial(
        transport.ledger.reserve, Lane.LIVE, LISTING, RIDER, longest=timedelta(0), max_wait=transport.max_wait
    )
    reserve()
    with pytest.raises(InterruptedError):
        reserve()
