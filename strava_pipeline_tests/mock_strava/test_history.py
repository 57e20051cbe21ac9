from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polyline
import pytest

from strava_pipeline.mock_strava.history import GeneratedActivity, generate_activity, generate_world
from strava_pipeline.mock_strava.plans import LONGEST_OUTING, ODD_NAMES
from strava_pipeline.mock_strava.world import Activity, World
from strava_pipeline_tests.mock_strava.callers import NOON

DAY_S = 86_400


@pytest.fixture(scope="module")
def world() -> World:
    return generate_world(6, NOON)


@pytest.fixture(scope="module")
def everything(world: World) -> list[Activity]:
    return [activity for person in world for activity in person.activities.values()]


def only(everything: list[Activity], **wanted: Any) -> Activity:
    """The first activity whose summary says so."""
    return next(a for a in everything if wanted.items() <= a.summary().items())


def data_of(activity: Activity) -> dict[str, Any]:
    return {name: np.array(stream["data"]) for name, stream in activity.source.streams().items()}


def metres_along(latlng: Any) -> float:
    """Length of a line of positions by the haversine formula."""
    latitude, longitude = np.radians(latlng).T
    half = (
        np.sin(np.diff(latitude) / 2) ** 2
        + np.cos(latitude[1:]) * np.cos(latitude[:-1]) * np.sin(np.diff(longitude) / 2) ** 2
    )
    return float((2 * 6_371_000 * np.arcsin(np.sqrt(half))).sum())


def test_the_same_moment_gives_the_same_world(everything: list[Activity]) -> None:
    again = [activity for person in generate_world(6, NOON) for activity in person.activities.values()]
    assert [a.summary() for a in again] == [a.summary() for a in everything]
    assert again[5].detail() == everything[5].detail()
    assert again[5].source.streams() == everything[5].source.streams()


def test_a_later_world_keeps_what_was_there(world: World) -> None:
    later = generate_world(6, NOON + 30 * DAY_S)
    for person in world:
        after = NOON - 100 * DAY_S
        kept = {number: a for number, a in person.activities.items() if a.start > after}
        assert kept
        assert all(later.people[person.id].activities[n].summary() == a.summary() for n, a in kept.items())


def test_athletes_go_out_three_to_five_times_a_week_until_now(world: World) -> None:
    for person in world:
        starts = sorted(activity.start for activity in person.activities.values())
        weeks = (starts[-1] - starts[0]) / (7 * DAY_S)
        assert 25 < weeks < 27
        assert 3 <= len(starts) / weeks <= 5
        assert NOON - 7 * DAY_S < starts[-1] <= NOON - LONGEST_OUTING.total_seconds()


def test_ids_are_beyond_what_small_numbers_hold_and_unique(everything: list[Activity]) -> None:
    assert all(activity.id > 2**32 for activity in everything)
    assert len({activity.id for activity in everything}) == len(everything)
    efforts = [
        effort["id"]
        for a in everything
        if a.summary()["sport_type"] == "Ride"
        for effort in a.detail()["segment_efforts"]
    ]
    assert efforts
    assert all(2**53 < number < 2**63 for number in efforts)
    assert len(set(efforts)) == len(efforts)


def test_every_kind_of_activity_and_every_odd_name_occurs(everything: list[Activity]) -> None:
    bodies = [activity.summary() for activity in everything]
    assert {body["sport_type"] for body in bodies} == {"Ride", "Run", "TrailRun", "Swim"}
    assert set(ODD_NAMES) <= {body["name"] for body in bodies}
    assert all({body[flag] for body in bodies} == {True, False} for flag in ("manual", "trainer", "private"))
    assert any(body["heartrate_opt_out"] for body in bodies)


def test_figures_of_a_summary_agree_with_the_streams(everything: list[Activity]) -> None:
    for activity in everything:
        body = activity.summary()
        if body["manual"]:
            continue
        data = data_of(activity)
        assert body["distance"] == pytest.approx(data["distance"][-1])
        assert body["elapsed_time"] == data["time"][-1]
        assert body["moving_time"] == np.diff(data["time"])[data["moving"][1:]].sum()
        assert 0 < body["moving_time"] <= body["elapsed_time"]
        assert body["average_speed"] == pytest.approx(body["distance"] / body["moving_time"], abs=1e-3)
        assert body["max_speed"] == data["velocity_smooth"].max()
        if "altitude" in data:
            rises = np.diff(data["altitude"])
            assert body["total_elevation_gain"] == pytest.approx(rises[rises > 0].sum(), abs=0.06)
            assert (body["elev_low"], body["elev_high"]) == (data["altitude"].min(), data["altitude"].max())
        if "heartrate" in data:
            assert body["average_heartrate"] == pytest.approx(data["heartrate"].mean(), abs=0.06)
            assert body["max_heartrate"] == data["heartrate"].max()
        if "watts" in data:
            assert body["average_watts"] == pytest.approx(data["watts"][data["moving"]].mean(), abs=0.06)
            assert body["average_watts"] <= body["weighted_average_watts"] <= body["max_watts"]
            assert body["kilojoules"] == pytest.approx(body["average_watts"] * body["moving_time"] / 1000, abs=0.06)


def test_positions_cover_the_distance(everything: list[Activity]) -> None:
    for activity in everything[::5]:
        if activity.summary()["start_latlng"]:
            body, data = activity.summary(), data_of(activity)
            assert metres_along(data["latlng"]) == pytest.approx(body["distance"], rel=0.01)
            assert body["start_latlng"] == data["latlng"][0].tolist()
            assert body["end_latlng"] == data["latlng"][-1].tolist()
            fine = polyline.decode(activity.detail()["map"]["polyline"])
            assert fine[0] == pytest.approx(body["start_latlng"], abs=1e-5)
            assert metres_along(fine) == pytest.approx(body["distance"], rel=0.02)
            assert len(polyline.decode(body["map"]["summary_polyline"])) < len(fine)


def test_a_ride_has_every_stream_once_a_second(everything: list[Activity]) -> None:
    data = data_of(only(everything, sport_type="Ride", manual=False, trainer=False, heartrate_opt_out=False))
    assert set(data) == {
        "time", "distance", "latlng", "altitude", "velocity_smooth", "heartrate", "cadence", "watts", "temp",
        "moving", "grade_smooth",
    }  # fmt: skip
    assert len({len(values) for values in data.values()}) == 1
    steps = np.diff(data["time"])
    assert (steps == 1).mean() > 0.99
    assert (steps > 1).sum() == 1, "the device paused once"
    assert (np.diff(data["distance"]) >= 0).all()


def test_a_manual_entry_has_no_upload_and_no_streams(everything: list[Activity]) -> None:
    activity = only(everything, manual=True)
    body = activity.detail()
    assert (body["upload_id"], body["external_id"]) == (None, None)
    assert "upload_id_str" not in body
    assert body["start_latlng"] == []
    assert activity.source.streams() is None


@pytest.mark.parametrize("kind", [{"sport_type": "Ride", "trainer": True, "manual": False}, {"sport_type": "Swim"}])
def test_inside_there_are_no_positions(everything: list[Activity], kind: dict[str, Any]) -> None:
    activity = only(everything, **kind)
    body, data = activity.detail(), data_of(activity)
    assert (body["start_latlng"], body["end_latlng"], body["map"]["polyline"]) == ([], [], "")
    assert {"latlng", "altitude", "grade_smooth"}.isdisjoint(data)
    assert {"time", "distance", "heartrate"} <= set(data)


def test_a_hidden_heart_rate_shows_nowhere(everything: list[Activity]) -> None:
    activity = next(a for a in everything if a.summary()["heartrate_opt_out"] and not a.summary()["manual"])
    body = activity.detail()
    assert body["has_heartrate"] is False
    assert "heartrate" not in data_of(activity)
    assert all("average_heartrate" not in part for part in (body, *body["laps"], *body["splits_metric"]))


def test_times_carry_the_true_offset_beside_the_standard_one() -> None:
    world = generate_world(12, NOON)
    shown: dict[str, set[tuple[str, float]]] = {}
    for person in world:
        for activity in person.activities.values():
            body = activity.summary()
            standard, _, name = body["timezone"].partition(" ")
            moment = datetime.fromisoformat(body["start_date"])
            local = moment.astimezone(ZoneInfo(name)).replace(tzinfo=UTC)
            assert body["start_date_local"] == local.strftime("%Y-%m-%dT%H:%M:%SZ")
            shown.setdefault(name, set()).add((standard, body["utc_offset"]))
    assert shown == {
        "Europe/Berlin": {("(GMT+01:00)", 3600.0), ("(GMT+01:00)", 7200.0)},
        "Asia/Kolkata": {("(GMT+05:30)", 19800.0)},
    }


def test_splits_and_laps_add_up_to_the_whole(everything: list[Activity]) -> None:
    for activity in (
        only(everything, sport_type="Ride", manual=False),
        only(everything, sport_type="Run", manual=False),
    ):
        body = activity.detail()
        for parts in (body["splits_metric"], body["splits_standard"], body["laps"]):
            assert sum(part["distance"] for part in parts) == pytest.approx(body["distance"], abs=0.1)
            assert sum(part["elapsed_time"] for part in parts) == body["elapsed_time"]
            assert sum(part["moving_time"] for part in parts) == body["moving_time"]
        assert all(split["distance"] == pytest.approx(1000, abs=25) for split in body["splits_metric"][:-1])
        assert [lap["lap_index"] for lap in body["laps"]] == list(range(1, len(body["laps"]) + 1))
        assert all(one["end_index"] == next_one["start_index"] for one, next_one in pairwise(body["laps"]))


def test_best_efforts_are_the_fastest_stretches(everything: list[Activity]) -> None:
    activity = only(everything, sport_type="Run", manual=False)
    data, efforts = data_of(activity), activity.detail()["best_efforts"]
    assert [effort["name"] for effort in efforts][:3] == ["400m", "1/2 mile", "1K"]
    kilometre = next(effort for effort in efforts if effort["name"] == "1K")
    ends = [int(np.argmax(data["distance"] >= start + 1000)) for start in data["distance"]]
    times = [data["time"][end] - data["time"][start] for start, end in enumerate(ends) if end]
    assert kilometre["elapsed_time"] == min(times)


def test_trail_runs_are_runs_by_type(everything: list[Activity]) -> None:
    assert only(everything, sport_type="TrailRun").summary()["type"] == "Run"


def test_a_fresh_activity_has_just_ended(world: World) -> None:
    for person in world:
        for sport in ("Ride", "Run", "TrailRun", "Swim"):
            body = generate_activity(world, person.id, NOON, {"sport_type": sport}).summary()
            start = datetime.fromisoformat(body["start_date"]).timestamp()
            assert start > NOON - 6 * 3600
            assert start + body["elapsed_time"] <= NOON
            assert body["sport_type"] == sport


def test_fields_of_a_fresh_activity_can_be_chosen(world: World) -> None:
    fields = {"name": "Mine", "sport_type": "Run", "start_date": "2026-02-03T04:05:06Z", "description": "d"}
    activity = generate_activity(world, next(iter(world)).id, NOON, fields)
    assert (activity.summary()["name"], activity.summary()["start_date"]) == ("Mine", "2026-02-03T04:05:06Z")
    assert "description" not in activity.summary()
    assert activity.detail()["description"] == "d"


def test_only_the_detail_costs_a_fine_line(everything: list[Activity]) -> None:
    source = everything[0].source
    assert isinstance(source, GeneratedActivity)
    assert source.summary() is source.summary(), "a summary is made once"
    assert "polyline" not in source.summary()["map"]
