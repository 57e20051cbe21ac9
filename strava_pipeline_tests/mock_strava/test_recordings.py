from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.mock_strava.recordings import load_recordings
from strava_pipeline_tests.mock_strava.callers import Caller, connect

ATHLETE: dict[str, Any] = {
    "id": 4_412_007,
    "username": "recorded",
    "resource_state": 3,
    "firstname": "Ré",
    "lastname": "Corded\n🦉",
    "weight": 70.5,
    "shoes": [{"id": "g77", "name": "Old pair", "resource_state": 2}],
}
SUMMARY: dict[str, Any] = {
    "resource_state": 2,
    "name": "",
    "distance": 1000,
    "moving_time": 400.0,
    "type": "Run",
    "id": 6_000_000_001,
    "start_date": "2025-03-04T05:06:07Z",
    "timezone": "(GMT-05:00) America/New_York",
    "start_latlng": [],
    "zebra": None,
    "alpha": 0.1,
}
DETAIL: dict[str, Any] = {
    "resource_state": 3,
    "id": 6_000_000_002,
    "name": 'A "detail", é 🚲',
    "type": "Ride",
    "private": True,
    "start_date": "2025-03-05T05:06:07Z",
    "start_latlng": [10.5, 20.25],
    "timezone": "(GMT+01:00) Europe/Paris",
    "map": {"id": "a6000000002", "polyline": "abc", "resource_state": 3, "summary_polyline": "a"},
    "segment_efforts": [{"id": 7_306_287_690_309_388_191, "hidden": True}],
    "laps": [{"id": 1}],
}
KEYED = {"distance": {"data": [0.0, 1.4], "series_type": "distance", "original_size": 2, "resolution": "high"}}
LISTED = [
    {"type": "watts_calc", "data": [1, 2], "series_type": "distance", "original_size": 2, "resolution": "high"},
    {"type": "watts", "data": [100, None], "series_type": "distance", "original_size": 2, "resolution": "high"},
    {"type": "distance", "data": [0.0, 5.5], "series_type": "distance", "original_size": 2, "resolution": "high"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "athlete.json": ATHLETE,
        "activities/6000000001.json": SUMMARY,
        "activities/6000000002.json": DETAIL,
        "streams/6000000001.json": KEYED,
        "streams/6000000002.json": LISTED,
        "stats.json": {"all_run_totals": {"count": 905}},
        "gear/b5.json": {"id": "b5", "resource_state": 3},
    }
    home = tmp_path / "recorded"
    for name, body in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
    return home


@pytest.fixture
def caller(make_client: Callable[..., FlaskClient], folder: Path) -> Caller:
    return connect(make_client(recordings=folder), ATHLETE["id"])


def test_bodies_are_served_as_recorded_down_to_the_order_of_keys(caller: Caller) -> None:
    for path, body in (
        ("/athlete", ATHLETE),
        (f"/activities/{SUMMARY['id']}", SUMMARY),
        (f"/activities/{DETAIL['id']}", DETAIL),
        (f"/athletes/{ATHLETE['id']}/stats", {"all_run_totals": {"count": 905}}),
        ("/gear/b5", {"id": "b5", "resource_state": 3}),
        (f"/activities/{DETAIL['id']}/laps", DETAIL["laps"]),
    ):
        assert json.dumps(caller.json(path)) == json.dumps(body)


def test_the_list_shows_recorded_summaries_as_they_are_and_details_cut(caller: Caller) -> None:
    newest, oldest = caller.json("/athlete/activities")
    assert json.dumps(oldest) == json.dumps(SUMMARY)
    assert newest["resource_state"] == 2
    assert {"laps", "segment_efforts"}.isdisjoint(newest)
    assert "polyline" not in newest["map"]


def test_a_recorded_summary_is_listed_in_place_of_the_detail(
    make_client: Callable[..., FlaskClient], folder: Path
) -> None:
    unlike = DETAIL | {"name": "As listed", "elapsed_time": 600}
    (folder / "summaries").mkdir()
    (folder / f"summaries/{DETAIL['id']}.json").write_text(json.dumps(unlike), encoding="utf-8")
    caller = connect(make_client(recordings=folder), ATHLETE["id"])
    listed, _ = caller.json("/athlete/activities")
    assert (listed["name"], listed["elapsed_time"], listed["resource_state"]) == ("As listed", 600, 2)
    assert caller.json(f"/activities/{DETAIL['id']}") == DETAIL


@pytest.mark.parametrize("number", [SUMMARY["id"], DETAIL["id"]])
def test_either_recorded_form_is_served_in_the_form_asked_for(caller: Caller, number: int) -> None:
    path = f"/activities/{number}/streams?keys=watts,distance"
    keyed, listed = caller.json(f"{path}&key_by_type=true"), caller.json(path)
    assert isinstance(keyed, dict)
    assert isinstance(listed, list)
    assert {entry["type"]: entry["data"] for entry in listed} == {name: s["data"] for name, s in keyed.items()}
    assert "watts_calc" not in keyed


def test_a_recorded_list_comes_back_whole_when_all_of_it_is_asked_for(caller: Caller) -> None:
    path = f"/activities/{DETAIL['id']}/streams?keys=watts,watts_calc,distance"
    assert caller.json(path) == LISTED


def test_what_was_not_recorded_is_made_up_or_empty(caller: Caller) -> None:
    assert caller.json("/athlete/zones")["heart_rate"]["zones"]
    assert caller.json(f"/activities/{SUMMARY['id']}/zones") == []
    assert caller.json("/gear/g77") == ATHLETE["shoes"][0]


def test_an_activity_can_be_added_to_a_recorded_athlete(caller: Caller) -> None:
    added = caller.client.post("/mock/activities", json={"athlete_id": ATHLETE["id"]})
    assert added.json is not None
    body = caller.json(f"/activities/{added.json['id']}")
    assert (body["sport_type"], body["timezone"]) == ("Ride", "(GMT+01:00) Europe/Paris")
    assert body["start_latlng"] == pytest.approx(DETAIL["start_latlng"], abs=1e-3)
    assert caller.json("/athlete/activities")[0]["id"] == body["id"]
    assert caller.get(f"/activities/{body['id']}/streams").status_code == 200


def test_a_recorded_activity_can_be_changed_and_deleted(caller: Caller) -> None:
    caller.client.put(f"/mock/activities/{SUMMARY['id']}", json={"name": "told"})
    assert caller.json(f"/activities/{SUMMARY['id']}") == SUMMARY | {"name": "told"}
    caller.client.delete(f"/mock/activities/{SUMMARY['id']}")
    assert caller.get(f"/activities/{SUMMARY['id']}").status_code == 404


def test_a_folder_of_folders_gives_several_athletes(folder: Path) -> None:
    other = folder.parent / "another"
    (other / "activities").mkdir(parents=True)
    (other / "athlete.json").write_text(json.dumps({"id": 3}), encoding="utf-8")
    assert [(person.id, person.name) for person in load_recordings(folder.parent)] == [
        (3, ""),
        (ATHLETE["id"], "Ré Corded 🦉"),
    ]


def test_a_folder_without_athletes_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no athlete\.json"):
        load_recordings(tmp_path)


def test_an_unreadable_recording_is_named(folder: Path) -> None:
    (folder / "activities" / "6000000001.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"6000000001\.json cannot be read"):
        load_recordings(folder)
