from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Integer
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.client import STREAM_TYPES
from strava_pipeline.strava.mapping.streams import SERIES, map_streams
from strava_pipeline.streams import Streams
from strava_pipeline.warehouse.schema.tables import activity_streams

ATHLETE, ACTIVITY = 4_000_000_101, 16_123_456_789
DATA: dict[str, list[Any]] = {
    "time": [0, 1, 3],
    "distance": [0, 2.5, 7],
    "latlng": [[48.1, -3], [48.2, -3.1], [48.3, -3.2]],
    "altitude": [10, 10.4, 9.8],
    "velocity_smooth": [0.0, 2.5, 2.3],
    "heartrate": [100, None, 104],
    "cadence": [80, 81, 82],
    "watts": [None, 200, 210],
    "temp": [21, 21, 21],
    "moving": [False, True, True],
    "grade_smooth": [0.0, -1.5, 2.0],
}


def by_type(data: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        name: {"data": values, "series_type": "distance", "original_size": 3, "resolution": "high"}
        for name, values in data.items()
    }


def as_list(data: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{"type": name} | stream for name, stream in by_type(data).items()]


@pytest.mark.parametrize("answer", [by_type(DATA), as_list(DATA)])
def test_both_forms_of_an_answer_give_the_same_arrays(answer: object) -> None:
    streams = map_streams(ATHLETE, ACTIVITY, answer)
    assert (streams.athlete_id, streams.activity_id, streams.point_count, streams.other) == (ATHLETE, ACTIVITY, 3, None)
    assert streams.latitude == [48.1, 48.2, 48.3]
    assert streams.longitude == [-3.0, -3.1, -3.2]
    assert {name: getattr(streams, name) for name in SERIES} == {name: DATA[name] for name in SERIES}


def test_every_stream_asked_for_has_its_column() -> None:
    assert set(STREAM_TYPES) == {*SERIES, "latlng"} == set(DATA)
    of_the_row = {"fetched_at", "source", "recording_id", "stream_sources"}
    assert {field.name for field in fields(Streams)} == {column.name for column in activity_streams.c} - of_the_row
    kind = activity_streams.c.time.type
    assert isinstance(kind, ARRAY)
    assert isinstance(kind.item_type, Integer)


def test_streams_of_unknown_types_are_kept() -> None:
    streams = map_streams(ATHLETE, ACTIVITY, by_type(DATA | {"watts_calc": [1, None, 2], "notes": ["a", {}, []]}))
    assert streams.other == {"watts_calc": [1, None, 2], "notes": ["a", {}, []]}


@pytest.mark.parametrize("answer", [{}, [], by_type({"time": [], "latlng": []})])
def test_no_samples_are_no_points(answer: object) -> None:
    assert map_streams(ATHLETE, ACTIVITY, answer).point_count == 0


def test_only_distance_is_no_fault() -> None:
    streams = map_streams(ATHLETE, ACTIVITY, by_type({"distance": [0.0, 5.0]}))
    assert (streams.point_count, streams.distance, streams.time, streams.latitude) == (2, [0.0, 5.0], None, None)


def test_the_longest_series_counts_the_points() -> None:
    assert map_streams(ATHLETE, ACTIVITY, by_type({"time": [0, 1], "latlng": [[1, 2]] * 5})).point_count == 5


def test_gaps_in_the_positions_stay_gaps() -> None:
    streams = map_streams(ATHLETE, ACTIVITY, by_type({"latlng": [[1, 2], None, [], [3, 4]]}))
    assert streams.latitude == [1.0, None, None, 3.0]
    assert streams.longitude == [2.0, None, None, 4.0]


@pytest.mark.parametrize(
    "data",
    [
        {"time": ["0"]},
        {"time": [0.5]},
        {"time": [2**31]},
        {"time": [True]},
        {"moving": [0]},
        {"heartrate": [True]},
        {"heartrate": [[1]]},
        {"watts": [10**400]},
        {"latlng": [[1]]},
        {"latlng": [[1, 2, 3]]},
        {"latlng": [["1", "2"]]},
        {"latlng": [7]},
        {"latlng": [[10**400, 2]]},
    ],
)
def test_a_sample_that_does_not_fit_names_its_stream(data: dict[str, list[Any]]) -> None:
    [name] = data
    for answer in (by_type(data), as_list(data)):
        with pytest.raises(RejectedRequest, match=f"activity {ACTIVITY}: stream {name} "):
            map_streams(ATHLETE, ACTIVITY, answer)


@pytest.mark.parametrize(
    "answer",
    [
        {"time": [0, 1]},
        {"time": None},
        {"time": {"data": None}},
        {"time": {"data": "0,1"}},
        [{"data": [0]}],
        [{"type": None, "data": [0]}],
        [{"type": [], "data": [0]}],
        [{"type": {}, "data": [0]}],
        [[0, 1]],
        [None],
    ],
)
def test_a_stream_that_is_none_is_rejected(answer: object) -> None:
    with pytest.raises(RejectedRequest, match="holds no list of data"):
        map_streams(ATHLETE, ACTIVITY, answer)


@pytest.mark.parametrize("answer", [None, "text", 7, True])
def test_what_is_no_answer_is_not_taken_for_no_streams(answer: object) -> None:
    with pytest.raises(RejectedRequest, match="neither an object nor a list"):
        map_streams(ATHLETE, ACTIVITY, answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
stream_names = st.sampled_from(STREAM_TYPES) | st.text()


@given(json_values | st.dictionaries(stream_names, st.fixed_dictionaries({"data": json_values}), max_size=4))
def test_any_answer_gives_a_row_or_a_rejection(answer: object) -> None:
    try:
        streams = map_streams(ATHLETE, ACTIVITY, answer)
    except RejectedRequest:
        return
    lengths = [
        len(getattr(streams, name)) for name in (*SERIES, "latitude", "longitude") if getattr(streams, name) is not None
    ]
    assert streams.point_count == max(lengths, default=0)
