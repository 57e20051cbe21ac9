from __future__ import annotations

from typing import Any

import pytest

from strava_pipeline.mock_strava.shapes import DETAIL_ONLY, select_streams, stream_set, summary_of

KEYED = stream_set({"time": [0, 1], "distance": [0.0, 2.5], "watts": [100, 120]})
LISTED = [{"type": "watts", "data": [1]}, {"type": "distance", "data": [2.0]}, {"type": "time", "data": [0]}]


def test_a_summary_of_a_detail_lacks_what_only_details_have() -> None:
    detail = {
        "resource_state": 3,
        "id": 5,
        "map": {"id": "a5", "polyline": "abc", "summary_polyline": "a", "resource_state": 3},
        "description": "long",
        "laps": [],
    }
    assert summary_of(detail) == {
        "resource_state": 2,
        "id": 5,
        "map": {"id": "a5", "summary_polyline": "a", "resource_state": 2},
    }
    assert detail["resource_state"] == 3


def test_a_recorded_summary_stays_as_it_is() -> None:
    body = {"id": 5, "resource_state": 2, "description": "odd, but recorded"}
    assert summary_of(body) is body


@pytest.mark.parametrize("recorded", [KEYED, LISTED])
def test_streams_come_in_the_form_asked_for(recorded: Any) -> None:
    keyed = select_streams(recorded, {"watts"}, by_type=True)
    listed = select_streams(recorded, {"watts"}, by_type=False)
    assert set(keyed) == {"watts", "distance"}
    assert all("type" not in stream for stream in keyed.values())
    assert {entry["type"] for entry in listed} == {"watts", "distance"}
    assert {entry["type"]: entry["data"] for entry in listed} == {name: s["data"] for name, s in keyed.items()}


def test_without_keys_only_distance_comes() -> None:
    assert list(select_streams(KEYED, set(), by_type=True)) == ["distance"]


def test_detail_only_fields_are_no_list_fields() -> None:
    assert {"id", "name", "map", "distance", "start_date"}.isdisjoint(DETAIL_ONLY)
