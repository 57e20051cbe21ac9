"""Odd answers and faults of a backfill: one odd activity stops no other, and what concerns all stops all."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, select

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
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.warehouse.activities.quarantine import release_unlisted
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import (
    activities,
    activity_streams,
    athlete_stats,
    athlete_zones,
    gear,
    laps,
)
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.sync.june import JUNE, LISTING, bring_up_to_date, ids, on, three_rides, value
from strava_pipeline_tests.warehouse.sessions import end_sessions


@pytest.fixture
def strava() -> StravaStandIn:
    return three_rides()


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


def test_an_older_listing_does_not_release_what_was_put_aside_since(strava: StravaStandIn, engine: Engine) -> None:
    with engine.connect() as connection:
        before = now(connection)
    strava.add(9, on(9), distance="far")
    import_listed(strava.sync(engine), [JUNE])
    for asked_at, left in ((before, [9]), (None, [])):
        with engine.begin() as connection:
            release_unlisted(connection, JUNE, [1, 2, 3], None, asked_at or now(connection))
        assert ids(engine, put_aside) == left


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


def test_an_answer_with_another_activity_is_put_aside_and_not_stored(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(2, id=20)
    strava.listed_unlike[2] = {"id": 2}
    results = bring_up_to_date(strava, engine)
    assert results[1][0].quarantined == {2: "GET /activities/2: the answer is not activity 2"}
    with engine.connect() as connection:
        stored = select(payloads.c.activity_id).where(payloads.c.kind == PayloadKind.DETAIL)
        assert sorted(connection.execute(stored).scalars()) == [1, 3]


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
