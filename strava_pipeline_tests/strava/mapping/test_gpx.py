"""Exports, checked against the rules of GPX 1.1 and of both extensions, written as a schema beside this file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import gpxpy
import pytest
import xmlschema
from gpxpy.gpx import GPX, GPXTrackPoint
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from strava_pipeline.errors import NotFound, RejectedRequest
from strava_pipeline.strava.mapping.gpx import Titles, build_gpx, export_gpx
from strava_pipeline.strava.mapping.streams import map_streams

JsonObject = dict[str, Any]
START = datetime(2026, 5, 1, 6, 30, tzinfo=UTC)
RIDE: JsonObject = {
    "id": 16_123_456_789,
    "name": "Round the lake",
    "description": "Windy.",
    "type": "Ride",
    "sport_type": "GravelRide",
    "start_date": "2026-05-01T06:30:00Z",
    "athlete": {"id": 5},
}
Check = Callable[[str], GPX]


@pytest.fixture(scope="module")
def checked() -> Check:
    """Checks an export against the schema and reads it back."""
    schema = xmlschema.XMLSchema(Path(__file__).with_name("gpx11.xsd"))

    def check(text: str) -> GPX:
        # Not the places named in the file: nothing is fetched.
        schema.validate(text, use_location_hints=False)
        return gpxpy.parse(text)

    return check


def streams(**series: list[Any]) -> JsonObject:
    return {name: {"data": values} for name, values in series.items()}


def measured(point: GPXTrackPoint) -> dict[str, str]:
    """What the extensions of a point tell, by local name."""
    leaves = [leaf for element in point.extensions for leaf in element.iter() if not len(leaf)]
    return {leaf.tag.rpartition("}")[2]: leaf.text for leaf in leaves}


def test_an_export_tells_all_that_was_recorded(checked: Check) -> None:
    told = streams(
        time=[0, 2],
        latlng=[[48.2, 16.3], [48.2001, 16.3001]],
        altitude=[171.4, 172],
        heartrate=[99, 100],
        cadence=[80, 81],
        temp=[-3, 21],
        watts=[0, 250],
        velocity_smooth=[1.0, 2.0],
    )
    gpx = checked(export_gpx(RIDE, told))
    assert (gpx.version, gpx.creator, gpx.time) == ("1.1", "strava-pipeline", START)
    (track,) = gpx.tracks
    told_of_track = [track.name, track.description, track.type]
    assert told_of_track == ["Round the lake", "Windy.", "GravelRide"]
    assert track.link == "https://www.strava.com/activities/16123456789"
    (segment,) = track.segments
    assert [(p.latitude, p.longitude, p.elevation) for p in segment.points] == [
        (48.2, 16.3, 171.4),
        (48.2001, 16.3001, 172.0),
    ]
    assert [p.time for p in segment.points] == [START, START + timedelta(seconds=2)]
    assert [measured(point) for point in segment.points] == [
        {"atemp": "-3", "hr": "99", "cad": "80", "PowerInWatts": "0"},
        {"atemp": "21", "hr": "100", "cad": "81", "PowerInWatts": "250"},
    ]


def test_an_activity_that_strava_does_not_know_has_no_link(checked: Check) -> None:
    of_a_file = Titles(-5, "Round the lake", None, "Ride", None, START)
    told = map_streams(1001, -5, streams(time=[0], latlng=[[48.2, 16.3]]))
    (track,) = checked(build_gpx(of_a_file, told)).tracks
    assert (track.name, track.link) == ("Round the lake", None)


def test_streams_of_the_older_form_are_taken(checked: Check) -> None:
    gpx = checked(export_gpx(RIDE, [{"type": "latlng", "data": [[1, 2]]}, {"type": "time", "data": [7]}]))
    (point,) = gpx.tracks[0].segments[0].points
    assert (point.latitude, point.time, point.extensions) == (1.0, START + timedelta(seconds=7), [])


def test_a_gap_in_the_positions_begins_a_new_segment(checked: Check) -> None:
    told = streams(latlng=[None, [1, 1], [1, 2], None, [], [1, 3], [95, 3], [1, 4]], time=list(range(8)))
    gpx = checked(export_gpx(RIDE, told))
    assert [[p.longitude for p in segment.points] for segment in gpx.tracks[0].segments] == [[1, 2], [3], [4]]
    assert gpx.tracks[0].segments[-1].points[0].time == START + timedelta(seconds=7)


def test_a_gap_in_another_stream_leaves_that_out(checked: Check) -> None:
    told = streams(
        latlng=[[1, 1], [1, 2], [1, 3]],
        time=[0, None, 2],
        altitude=[None, 5, 6],
        heartrate=[None, 100, None],
        watts=[None, None, 9],
    )
    points = checked(export_gpx(RIDE, told)).tracks[0].segments[0].points
    assert [point.elevation for point in points] == [None, 5, 6]
    assert [point.time for point in points] == [START, None, START + timedelta(seconds=2)]
    assert [measured(point) for point in points] == [{}, {"hr": "100"}, {"PowerInWatts": "9"}]


def test_streams_of_different_lengths_end_where_they_end(checked: Check) -> None:
    told = streams(latlng=[[1, 1], [1, 2], [1, 3]], time=[0, 1], altitude=[4], heartrate=[90, 91, 92, 93])
    points = checked(export_gpx(RIDE, told)).tracks[0].segments[0].points
    assert [point.elevation for point in points] == [4, None, None]
    assert [point.time for point in points] == [START, START + timedelta(seconds=1), None]
    assert [measured(point) for point in points] == [{"hr": "90"}, {"hr": "91"}, {"hr": "92"}]


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ('Fish & chips <b>"now"</b>', 'Fish & chips <b>"now"</b>'),
        ("ünï 🦔 cøde", "ünï 🦔 cøde"),
        ("two\nlines", "two\nlines"),
        ("]]> <!-- &amp;", "]]> <!-- &amp;"),
        ("bell\x07 and \x00nul, \x0bfeed, \ufffe", "bell and nul, feed, "),
        ("", None),
        (None, None),
    ],
)
def test_odd_names_are_exported_as_far_as_xml_can_hold_them(
    checked: Check, name: str | None, exported: str | None
) -> None:
    (track,) = checked(export_gpx(RIDE | {"name": name}, streams(latlng=[[1, 1]]))).tracks
    assert (track.name or "").strip() == (exported or "").strip()


def test_what_a_terminal_would_obey_is_in_the_file_and_not_on_the_terminal(checked: Check) -> None:
    name = "C1 \x9b31m\x85 \u202etxt \u200bend\x7f"
    document = export_gpx(RIDE | {"name": name}, streams(latlng=[[1, 1]]))
    assert all(char.isprintable() or char == "\n" for char in document)
    (track,) = checked(document).tracks
    assert track.name == name


@pytest.mark.parametrize(
    "told", [{}, [], {"latlng": {"data": []}}, {"latlng": {"data": [None, []]}}, {"time": {"data": [0]}}]
)
def test_an_activity_without_positions_is_not_found_in_one_line(told: Any) -> None:
    with pytest.raises(NotFound) as caught:
        export_gpx(RIDE, told)
    assert str(caught.value) == "activity 16123456789 has no GPS positions: there is nothing to export"


@pytest.mark.parametrize(
    ("activity", "told"),
    [
        ({"id": None}, streams(latlng=[[1, 1]])),
        ({"start_date": "soon"}, streams(latlng=[[1, 1]])),
        ({"name": 7}, streams(latlng=[[1, 1]])),
        ({}, streams(latlng=[["a", "b"]])),
        ({}, "streams"),
    ],
)
def test_a_body_that_does_not_map_is_rejected(activity: JsonObject, told: Any) -> None:
    with pytest.raises(RejectedRequest):
        export_gpx(RIDE | activity, told)


def test_without_a_start_there_are_no_times(checked: Check) -> None:
    gpx = checked(export_gpx({"id": 1}, streams(latlng=[[1, 1]], time=[0])))
    assert gpx.time is None
    assert gpx.tracks[0].segments[0].points[0].time is None


positions = st.one_of(st.none(), st.tuples(st.floats(-91, 91), st.floats(-181, 181)).map(list))
numbers = st.one_of(st.none(), st.integers(-10, 70_000), st.floats(-1e6, 1e6))
whole = st.one_of(st.none(), st.integers(0, 2**31 - 1))


@limits(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.text(max_size=20),
    latlng=st.lists(positions, max_size=8),
    time=st.lists(whole, max_size=8),
    others=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("altitude", "heartrate", "cadence", "temp", "watts"), st.lists(numbers, max_size=8))
    ),
)
@example(
    name="", latlng=[[90.0, 180.0], [-90.0, -180.0], [1e-7, 5e-324]], time=[0], others={"heartrate": [0, 256, 255.4]}
)
@example(
    name="", latlng=[[0.0, 0.0]] * 3, time=[], others={"cadence": [254.4, 255, -1], "watts": [65_535.4, 65_536, 1e-9]}
)
def test_whatever_comes_the_export_keeps_to_the_schema(
    checked: Check, name: str, latlng: list[Any], time: list[Any], others: dict[str, list[Any]]
) -> None:
    on_earth = [pair for pair in latlng if pair and abs(pair[0]) <= 90 and abs(pair[1]) <= 180]
    told = streams(latlng=latlng, time=time, **others)
    if not on_earth:
        with pytest.raises(NotFound):
            export_gpx(RIDE | {"name": name}, told)
        return
    gpx = checked(export_gpx(RIDE | {"name": name}, told))
    assert sum(len(segment.points) for segment in gpx.tracks[0].segments) == len(on_earth)
