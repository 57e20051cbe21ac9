"""Assets: months shown as they are done, faults turned into Dagster's retries, ranges of any shape."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt
from sqlalchemy import Engine, select

from strava_pipeline.defs.attempts import Attempts
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import (
    AppInactive,
    DatabaseUnavailable,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    QuotaExhausted,
    RetriableStravaError,
    StravaAway,
    StravaError,
    StravaPipelineError,
)
from strava_pipeline.months import Span
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.schema import analysis_tables, tables
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    activities,
    activity_details,
    activity_points_parquet,
    activity_streams,
    athletes_and_gear,
    op,
    route_analyses,
    step,
)
from strava_pipeline_tests.strava_stand_in import RIDER

OTHER_RIDER = 2002
GRID = (activities, activity_details, activity_streams, route_analyses)
TABLES = ("activities", "activity_details", "activity_streams", "route_analyses")
JUNE = f"{RIDER}|2025-06-01"
AT = datetime(2025, 6, 10, tzinfo=UTC)


def ride(location: CodeLocation, month: int) -> None:
    """A ride in that month of 2024, with the month's number."""
    location.strava.add(month, datetime(2024, month, 15, tzinfo=UTC))


def months(first: int, last: int, athlete: int = RIDER, last_athlete: int = RIDER) -> dict[str, str]:
    """The tags of a run over months of 2024."""
    return {
        "dagster/asset_partition_range_start": f"{athlete}|2024-{first:02d}-01",
        "dagster/asset_partition_range_end": f"{last_athlete}|2024-{last:02d}-01",
    }


def failure(result: dg.ExecuteInProcessResult, node: str) -> tuple[str | None, dict[str, Any]]:
    """Why a step failed: in words, and what is shown beside."""
    data = result.failure_data_for_node(node)
    assert data is not None
    assert data.user_failure_data is not None
    shown = {name: value.value for name, value in data.user_failure_data.metadata.items()}
    return data.user_failure_data.description, shown


def retries(result: dg.ExecuteInProcessResult) -> list[float | None]:
    return [
        event.step_retry_data.seconds_to_wait
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY
    ]


def test_a_month_goes_through_all_assets_and_shows_its_figures(location: CodeLocation, engine: Engine) -> None:
    for number in (1, 2):
        location.strava.add(number, AT)
    result = location.materialize(*GRID, partition_key=JUNE)
    assert result.success
    for name in TABLES:
        (event,) = result.asset_materializations_for_node(step(name))
        assert (event.partition, event.metadata["written"].value) == (JUNE, 2)
        requests = {"activities": 1, "activity_details": 2, "activity_streams": 2, "route_analyses": 0}
        assert event.metadata["requests"].value == requests[name]
        assert location.materialized(name) == {JUNE}
    with engine.connect() as connection:
        assert len(connection.execute(select(analysis_tables.route_analyses)).all()) == 2


def test_a_second_run_sends_one_request(location: CodeLocation) -> None:
    location.strava.add(1, AT)
    location.materialize(*GRID, partition_key=JUNE)
    location.strava.new_requests()
    assert location.materialize(*GRID, partition_key=JUNE).success
    assert location.strava.new_requests() == ["/athlete/activities"]


def test_what_is_put_aside_is_shown(location: CodeLocation) -> None:
    location.strava.add(1, AT, moving_time="long")
    result = location.materialize(activities, partition_key=JUNE)
    (event,) = result.asset_materializations_for_node(step("activities"))
    assert "moving_time" in str(event.metadata["put aside"].value)


def test_what_is_put_aside_is_shown_as_text_whatever_strava_wrote(location: CodeLocation) -> None:
    for number, evil in enumerate(
        ("``![](http://x.yz/a)`<b>", "[a](javascript:b)", "x\n\n# <img src=//x.yz>"), start=1
    ):
        location.strava.add(number, AT, moving_time=evil)
    result = location.materialize(activities, partition_key=JUNE)
    (event,) = result.asset_materializations_for_node(step("activities"))
    shown = MarkdownIt().parse(str(event.metadata["put aside"].value))
    kinds = {token.type for block in shown for token in (block.children or [])}
    assert kinds == {"code_inline"}
    assert sum(block.type == "list_item_open" for block in shown) == 3


def test_a_year_takes_one_listing_and_shows_every_month(location: CodeLocation) -> None:
    for month in range(1, 13):
        ride(location, month)
    assert location.materialize(*GRID, tags=months(1, 12)).success
    assert location.strava.asked.count("/athlete/activities") == 1
    assert len(location.strava.asked) == 1 + 12 + 12
    for name in TABLES:
        assert location.materialized(name) == {f"{RIDER}|2024-{month:02d}-01" for month in range(1, 13)}


def test_a_run_that_dies_in_its_sixth_month_keeps_the_five_before(location: CodeLocation, engine: Engine) -> None:
    for month in range(1, 13):
        ride(location, month)
    location.materialize(activities, tags=months(1, 12))
    # Newest first: the sixth is July.
    location.strava.faults["/activities/7"] = [NeedsReauthorization("athlete 1001 must connect again")]
    result = location.materialize(activity_details, tags=months(1, 12))
    assert not result.success
    assert failure(result, step("activity_details")) == (
        "athlete 1001, 2024-07: athlete 1001 must connect again",
        {"kind": "NeedsReauthorization", "athlete": "1001", "months": "2024-07"},
    )
    done = {f"{RIDER}|2024-{month:02d}-01" for month in range(8, 13)}
    assert location.materialized("activity_details") == done
    location.strava.new_requests()
    assert location.materialize(activity_details, tags=months(1, 12)).success
    assert location.strava.new_requests() == [f"/activities/{month}" for month in range(7, 0, -1)]


def test_one_month_that_fails_does_not_take_its_year_along(location: CodeLocation) -> None:
    for month in range(1, 13):
        ride(location, month)
    location.materialize(activities, tags=months(1, 12))
    location.strava.faults["/activities/3"] = [ZeroDivisionError("a bug")]
    # Months without a change, too, are shown as done: nobody asked for the details of April's only ride.
    location.strava.delete(4)
    result = location.materialize(activity_details, tags=months(1, 12))
    assert not result.success
    assert retries(result) == []
    told, shown = failure(result, step("activity_details"))
    reason = "ZeroDivisionError: a fault of this program, see the log of the run"
    assert told == f"athlete 1001: 1 of 12 months failed: 2024-03: {reason}"
    assert shown == {"kind": "MonthsFailed", "athlete": "1001", "months": f"- `athlete 1001, 2024-03: {reason}`"}
    year = {f"{RIDER}|2024-{month:02d}-01" for month in range(1, 13)}
    assert location.materialized("activity_details") == year - {f"{RIDER}|2024-03-01"}
    location.strava.new_requests()
    assert location.materialize(activity_details, tags=months(1, 12)).success
    assert location.strava.new_requests() == ["/activities/4", "/activities/3"]


def test_a_month_that_cannot_be_replaced_does_not_take_its_year_along(location: CodeLocation) -> None:
    for number in range(1, 13):
        ride(location, number)
        location.strava.add(100 + number, datetime(2024, 3, number, tzinfo=UTC))
    location.materialize(activities, tags=months(1, 12))
    for number in range(1, 13):
        location.strava.delete(100 + number)
    result = location.materialize(activities, tags=months(1, 12))
    told, _ = failure(result, step("activities"))
    assert str(told).startswith("athlete 1001: 1 of 12 months failed: 2024-03: Strava lists only 1 of")
    records = location.instance.get_records_for_run(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    shown = [record.partition_key for record in records.records]
    assert sorted(map(str, shown)) == [f"{RIDER}|2024-{month:02d}-01" for month in range(1, 13) if month != 3]


@pytest.mark.parametrize("asset", ["route_analyses", "activity_points_parquet"])
def test_figures_and_files_of_other_months_are_made_though_one_month_fails(
    location: CodeLocation, asset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, module = {
        "route_analyses": (route_analyses, "strava_pipeline.defs.assets.analysis.analyse_span"),
        "activity_points_parquet": (activity_points_parquet, "strava_pipeline.warehouse.lake.write_month"),
    }[asset]
    for month in range(1, 13):
        ride(location, month)
    location.materialize(activities, activity_details, activity_streams, tags=months(1, 12))
    real: Callable[..., Any] = pkgutil.resolve_name(module)

    def odd(*args: Any, **more: Any) -> Any:
        if any(isinstance(arg, Span) and arg.months == "2024-03" for arg in args):
            raise ZeroDivisionError
        return real(*args, **more)

    monkeypatch.setattr(module, odd)
    told, _ = failure(location.materialize(made, tags=months(1, 12)), step(asset))
    assert str(told).startswith("athlete 1001: 1 of 12 months failed: 2024-03: ZeroDivisionError")
    assert len(location.materialized(asset)) == 11


def test_a_month_that_fails_does_not_take_other_athletes_along(location: CodeLocation) -> None:
    register_athlete(location.instance, NAMES, OTHER_RIDER)
    ride(location, 5)
    location.materialize(activities, tags=months(5, 6))
    location.strava.faults["/activities/5"] = [ZeroDivisionError("a bug")]
    result = location.materialize(activity_details, tags=months(5, 5, last_athlete=OTHER_RIDER))
    told, shown = failure(result, step("activity_details"))
    assert str(told).startswith("athlete 1001: 1 of 2 months failed: 2024-05: ZeroDivisionError")
    assert shown["athlete"] == "1001"
    assert location.materialized("activity_details") == {f"{OTHER_RIDER}|2024-05-01"}


def test_a_range_that_spans_athletes_asks_for_each_of_them(location: CodeLocation, engine: Engine) -> None:
    register_athlete(location.instance, NAMES, OTHER_RIDER)
    ride(location, 5)
    result = location.materialize(activities, tags=months(5, 5, last_athlete=OTHER_RIDER))
    assert result.success
    assert location.strava.asked == ["/athlete/activities"] * 2
    assert location.materialized("activities") == {f"{RIDER}|2024-05-01", f"{OTHER_RIDER}|2024-05-01"}
    with engine.connect() as connection:
        owners = connection.execute(select(tables.activities.c.athlete_id)).scalars().all()
    assert owners == [RIDER]


@pytest.mark.parametrize(
    "more", [{}, {"dagster/partition/athlete": str(RIDER), "dagster/partition/month": "2025-06-01"}]
)
def test_a_run_launched_from_outside_finds_its_partition(location: CodeLocation, more: dict[str, str]) -> None:
    location.strava.add(1, AT)
    result = location.materialize(*GRID, tags={"dagster/partition": JUNE} | more)
    assert result.success
    assert location.materialized("route_analyses") == {JUNE}


@pytest.mark.parametrize(("tags", "lane"), [({}, Lane.BACKFILL), ({NAMES.lane_tag: "live"}, Lane.LIVE)])
def test_the_lane_is_the_runs_tag(location: CodeLocation, tags: dict[str, str], lane: Lane) -> None:
    assert location.materialize(activities, partition_key=JUNE, tags=tags).success
    assert location.lanes == [lane]


def test_a_month_that_lost_most_of_its_rides_fails_until_it_is_allowed(location: CodeLocation) -> None:
    for number in range(1, 12):
        location.strava.add(number, AT)
    location.materialize(activities, partition_key=JUNE)
    for number in range(1, 9):
        location.strava.delete(number)
    refused = location.materialize(activities, partition_key=JUNE)
    told, shown = failure(refused, step("activities"))
    assert "run again with allow_mass_delete" in str(told)
    assert shown == {"kind": "WarehouseError", "athlete": "1001", "months": "2025-06"}
    config = {"ops": {step("activities"): {"config": {"allow_mass_delete": True}}}}
    result = location.materialize(activities, partition_key=JUNE, run_config=config)
    (event,) = result.asset_materializations_for_node(step("activities"))
    assert event.metadata["deleted"].value == 8


def test_a_fault_that_passes_is_retried_after_a_second(location: CodeLocation) -> None:
    location.strava.faults["/athlete/activities"] = [RetriableStravaError("no connection")]
    result = location.materialize(activities, partition_key=JUNE)
    assert result.success
    assert retries(result) == [1]


@pytest.mark.parametrize(
    "error",
    [
        QuotaExhausted("used up", retry_at=AT),
        StravaAway("gave up after 24 h: Strava does not answer", since=AT, retry_at=AT),
        AppInactive("gave up after 24 h: switched off", retry_at=AT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_was_waited_for_too_long_ends_the_step_at_once_and_tells_until_when(
    location: CodeLocation, error: StravaError
) -> None:
    location.strava.faults["/athlete/activities"] = [error]
    result = location.materialize(activities, partition_key=JUNE)
    assert not result.success
    assert retries(result) == []
    assert failure(result, step("activities")) == (
        f"athlete 1001, 2025-06: {error}",
        {"kind": type(error).__name__, "retry_at": AT.isoformat(), "athlete": "1001", "months": "2025-06"},
    )


def test_a_listing_that_fails_names_the_months_it_was_for(location: CodeLocation) -> None:
    location.strava.faults["/athlete/activities"] = [AppInactive("switched off")]
    told, shown = failure(location.materialize(activities, tags=months(3, 11)), step("activities"))
    assert told == "athlete 1001, 2024-03 to 2024-11: switched off"
    assert shown == {"kind": "AppInactive", "athlete": "1001", "months": "2024-03 to 2024-11"}


def test_a_failed_profile_names_the_athlete(location: CodeLocation) -> None:
    location.strava.faults["/athlete"] = [AppInactive("switched off")]
    result = location.materialize(athletes_and_gear, partition_key=str(RIDER))
    told, shown = failure(result, op("athletes_and_gear"))
    assert told == "athlete 1001: switched off"
    assert shown == {"kind": "AppInactive", "athlete": "1001"}


def faults_before(number: int) -> Attempts:
    return Attempts(ended=number)


def outages_before(number: int) -> Attempts:
    return Attempts(ended=number, outages=number)


@pytest.mark.parametrize(
    ("error", "before"),
    [(RetriableStravaError("HTML"), faults_before), (DatabaseUnavailable("away"), outages_before)],
)
def test_a_lasting_fault_is_retried_after_1_2_and_4_seconds_and_then_final(
    error: StravaPipelineError, before: Callable[[int], Attempts]
) -> None:
    waits = []
    for number in range(3):
        with pytest.raises(dg.RetryRequested) as caught, translate_faults(before(number)):
            raise error
        waits.append((caught.value.max_retries, caught.value.seconds_to_wait))
    assert waits == [(1, 1), (2, 2), (3, 4)]
    with pytest.raises(dg.Failure) as final, translate_faults(before(3)):
        raise error
    assert final.value.description == str(error)
    assert not final.value.allow_retries


@pytest.mark.parametrize("error", [AppInactive("off"), NotFound("gone"), NeedsReauthorization("dead")])
def test_what_cannot_pass_is_final_at_once(error: StravaPipelineError) -> None:
    with pytest.raises(dg.Failure) as caught, translate_faults(Attempts()):
        raise error
    assert not caught.value.allow_retries
    assert caught.value.metadata["kind"].value == type(error).__name__


def test_a_bug_is_not_taken_for_a_fault() -> None:
    with pytest.raises(ZeroDivisionError), translate_faults(Attempts()):
        _ = 1 // 0


def test_profile_gear_totals_and_zones_come_with_three_requests(location: CodeLocation, engine: Engine) -> None:
    result = location.materialize(athletes_and_gear, partition_key=str(RIDER))
    assert result.success
    assert location.strava.asked == ["/athlete", f"/athletes/{RIDER}/stats", "/athlete/zones"]
    assert location.materialized("gear") == location.materialized("athletes") == {str(RIDER)}
    for event in result.asset_materializations_for_node(op("athletes_and_gear")):
        assert event.metadata["requests"].value == 3
        assert event.metadata["quota left"].value in range(1, 101)
    with engine.connect() as connection:
        assert connection.execute(select(tables.athletes.c.firstname)).scalar_one() == "Mira"


def test_gear_that_the_profile_does_not_list_is_asked_for_once(location: CodeLocation, engine: Engine) -> None:
    for number, used in enumerate(["b1", "b7", "b7", "g8", None], start=1):
        location.strava.add(number, AT, gear_id=used)
    location.strava.retired["b7"] = {"id": "b7", "name": "Old", "brand_name": "Maker", "weight": 8.5, "retired": True}
    location.materialize(activities, partition_key=JUNE)
    for asked in (["/gear/b7", "/gear/g8"], []):
        location.strava.new_requests()
        result = location.materialize(athletes_and_gear, partition_key=str(RIDER))
        assert result.success
        assert location.strava.new_requests()[1:] == [f"/athletes/{RIDER}/stats", "/athlete/zones", *asked]
    columns = tables.gear.c
    with engine.connect() as connection:
        found = connection.execute(select(columns.id, columns.name, columns.brand_name).order_by(columns.id)).all()
    # Of the shoes Strava knows nothing any more.
    assert found == [("b1", "Blue", None), ("b7", "Old", "Maker"), ("g8", None, None)]


def test_gear_that_cannot_be_asked_for_now_is_asked_for_again(location: CodeLocation) -> None:
    location.strava.add(1, AT, gear_id="b7")
    location.materialize(activities, partition_key=JUNE)
    location.strava.faults["/gear/b7"] = [RetriableStravaError("no connection")]
    assert location.materialize(athletes_and_gear, partition_key=str(RIDER)).success
    assert location.strava.asked.count("/gear/b7") == 2


def test_gear_that_may_not_be_looked_at_is_asked_for_again_once_it_may(location: CodeLocation) -> None:
    location.strava.add(1, AT, gear_id="b7")
    location.materialize(activities, partition_key=JUNE)
    location.strava.faults["/gear/b7"] = [MissingScope("profile:read_all is missing")]
    for _ in range(3):
        assert location.materialize(athletes_and_gear, partition_key=str(RIDER)).success
    assert location.strava.asked.count("/gear/b7") == 2
