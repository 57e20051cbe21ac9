from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, DateTime, Double, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.mapping import activity as payload
from strava_pipeline.strava.mapping.activity import (
    activity_id,
    as_json,
    detail_rows,
    digest,
    summary_row,
)
from strava_pipeline.strava.mapping.athlete import ATHLETE_FIELDS, GEAR_FIELDS, athlete_row, gear_row, gear_rows
from strava_pipeline.strava.mapping.fields import bigint, flag, instant, integer, number, position, text, wall_time
from strava_pipeline.warehouse.schema import tables
from strava_pipeline_tests.strava.bodies import (
    JsonObject,
    athlete_2025,
    detail_2013,
    detail_2019,
    indoor_swim_2025,
    manual_2025,
    summary_2025,
)

ATHLETE = 4_000_000_101
SHAPES = (summary_2025, indoor_swim_2025, manual_2025, detail_2019, detail_2013)
COLUMN_TYPES: dict[Callable[[Any], Any], type[TypeEngine[Any]]] = {
    integer: Integer,
    bigint: BigInteger,
    number: Double,
    text: Text,
    flag: Boolean,
    instant: DateTime,
    wall_time: DateTime,
    position: ARRAY,
}


@pytest.mark.parametrize(
    ("fields", "table"),
    [
        (payload.SUMMARY_FIELDS, tables.activities),
        (payload.DETAIL_FIELDS, tables.activities),
        (ATHLETE_FIELDS, tables.athletes),
        (GEAR_FIELDS, tables.gear),
        (payload.LAP_FIELDS, tables.laps),
        (payload.SPLIT_FIELDS, tables.splits),
        (payload.BEST_EFFORT_FIELDS, tables.best_efforts),
        (payload.SEGMENT_EFFORT_FIELDS, tables.segment_efforts),
        (payload.SEGMENT_FIELDS, tables.segments),
    ],
)
def test_each_field_fits_its_column(fields: Mapping[str, Callable[[Any], Any]], table: Table) -> None:
    for name, convert in fields.items():
        kind = table.c[name].type
        assert isinstance(kind, COLUMN_TYPES[convert]), name
        # BigInteger is an Integer by inheritance.
        assert isinstance(kind, BigInteger) == (convert is bigint), name
        assert getattr(kind, "timezone", convert is instant) == (convert is instant), name


@pytest.mark.parametrize("shape", SHAPES)
def test_every_scalar_of_a_body_arrives_in_its_column(shape: Callable[..., JsonObject]) -> None:
    body = shape()
    row = detail_rows(ATHLETE, body).activity
    for name, value in body.items():
        if isinstance(value, (dict, list)) or name in {"start_date", "start_date_local", "resource_state"}:
            continue
        assert row[name] == value, name
    assert {column.name for column in tables.activities.c} - set(row) == {
        "fetched_at", "told_by_api", "archive_taken_at", "file_taken_at", "offset_assumed",
    }  # fmt: skip


def test_the_summary_of_today() -> None:
    row = summary_row(ATHLETE, summary_2025())
    assert row["athlete_id"] == ATHLETE
    assert (row["id"], row["upload_id"], row["upload_id_str"]) == (16_123_456_789, 17_987_654_321, "17987654321")
    assert (row["type"], row["sport_type"], row["visibility"]) == ("Run", "TrailRun", "everyone")
    assert row["name"] == 'Évening loop, "fast" 🏃\nsecond line'
    assert (row["start_latlng"], row["end_latlng"]) == ([48.1, -3.0], [48.2, -3.1])
    assert (row["map_id"], row["summary_polyline"]) == ("a16123456789", "_p~iF~ps|U_ulLnnqC")
    assert row["total_elevation_gain"] == 87.0
    assert isinstance(row["total_elevation_gain"], float)
    assert "polyline" not in row


def test_the_false_z_of_the_local_start_is_dropped() -> None:
    row = summary_row(ATHLETE, summary_2025())
    assert row["start_date"] == datetime(2025, 6, 30, 22, 30, tzinfo=UTC)
    assert row["start_date_local"] == datetime(2025, 7, 1, 0, 30)  # noqa: DTZ001  local wall time has no zone
    assert row["utc_offset"] == 7200.0


def test_the_summary_of_an_indoor_swim_has_no_place() -> None:
    row = summary_row(ATHLETE, indoor_swim_2025())
    assert (row["start_latlng"], row["end_latlng"], row["summary_polyline"]) == (None, None, None)
    assert (row["name"], row["trainer"]) == ("", True)


def test_what_was_entered_by_hand_has_no_upload() -> None:
    row = summary_row(ATHLETE, manual_2025())
    assert (row["upload_id"], row["upload_id_str"], row["external_id"]) == (None, None, None)
    assert (row["start_latlng"], row["manual"]) == (None, True)


@pytest.mark.parametrize("nowhere", [[], None, "absent"])
def test_without_gps_there_is_no_position(nowhere: object) -> None:
    body = summary_2025(start_latlng=nowhere)
    if nowhere == "absent":
        del body["start_latlng"]
    assert summary_row(ATHLETE, body)["start_latlng"] is None


@pytest.mark.parametrize("activity_map", [None, {}, {"id": "a1", "summary_polyline": None}, {"summary_polyline": ""}])
def test_without_a_route_there_is_no_polyline(activity_map: object) -> None:
    row = detail_rows(ATHLETE, summary_2025(map=activity_map)).activity
    assert (row["summary_polyline"], row["polyline"]) == (None, None)


def test_a_detail_of_2019_gives_all_its_rows() -> None:
    rows = detail_rows(ATHLETE, detail_2019())
    owner = {"activity_id": 2_531_000_001, "athlete_id": ATHLETE}
    assert rows.activity["sport_type"] == rows.activity["type"] == "Ride"
    assert (rows.activity["resource_state"], rows.activity["polyline"]) == (3, "abc")
    assert (rows.activity["moving_time"], rows.activity["elapsed_time"]) == (6474, 6400)
    assert (rows.activity["description"], rows.activity["calories"]) == ("Dry, 21°C", 1063.3)
    for children in (rows.laps, rows.splits, rows.best_efforts, rows.segment_efforts):
        assert all(child.items() >= owner.items() for child in children)
    assert [(lap["id"], lap["lap_index"], lap["pace_zone"]) for lap in rows.laps] == [(45_591_000_001, 1, None)]
    assert [(split["unit"], split["split"]) for split in rows.splits] == [
        ("metric", 1),
        ("metric", 2),
        ("standard", 1),
    ]
    assert [(effort["id"], effort["name"]) for effort in rows.best_efforts] == [(73_463_000_001, "400m")]
    [effort] = rows.segment_efforts
    assert (effort["id"], effort["segment_id"]) == (7_306_287_690_309_388_191, 38_889_473)
    assert [(gear["id"], gear["is_primary"], gear["distance"]) for gear in rows.gear] == [("b42", True, 966309.0)]


@pytest.mark.parametrize(
    ("children", "table"),
    [
        ("laps", tables.laps),
        ("splits", tables.splits),
        ("best_efforts", tables.best_efforts),
        ("segment_efforts", tables.segment_efforts),
    ],
)
def test_children_fill_every_column_of_their_table(children: str, table: Table) -> None:
    for row in getattr(detail_rows(ATHLETE, detail_2019()), children):
        assert set(row) == {column.name for column in table.c}


def test_a_detail_of_2013_maps() -> None:
    rows = detail_rows(ATHLETE, detail_2013())
    assert rows.activity["sport_type"] == rows.activity["type"] == "Hike"
    assert (rows.activity["start_latlng"], rows.activity["visibility"]) == (None, None)
    assert rows.activity["location_city"] == "Springville"
    assert rows.laps == rows.splits == rows.best_efforts == rows.segment_efforts == rows.gear == []
    assert rows.segments == rows.photos == []


def test_of_start_local_start_and_offset_two_give_the_third() -> None:
    whole = summary_row(ATHLETE, summary_2025())
    for missing in ("utc_offset", "start_date_local"):
        body = summary_2025()
        del body[missing]
        assert summary_row(ATHLETE, body) == whole
    alone = summary_row(ATHLETE, summary_2025(utc_offset=None, start_date_local=None))
    assert (alone["utc_offset"], alone["start_date_local"]) == (None, None)


def test_a_hidden_start_time_and_a_standard_offset_in_summer_are_kept_as_told() -> None:
    row = summary_row(ATHLETE, summary_2025(start_date="2025-06-30T22:00:01Z", start_date_local="2025-07-01T00:00:01Z"))
    assert row["start_date_local"].isoformat() == "2025-07-01T00:00:01"
    assert (row["timezone"], row["utc_offset"]) == ("(GMT+01:00) Europe/Paris", 7200.0)


def test_a_segment_ridden_twice_is_one_row_and_the_main_photo_another() -> None:
    effort = detail_2019()["segment_efforts"][0]
    photo = {"unique_id": "p-1", "urls": {"600": "https://pictures.example.invalid/6"}, "source": 1, "media_type": 1}
    photos = {"count": 9, "use_primary_photo": True, "primary": photo}
    again = effort | {"id": effort["id"] - 1}
    rows = detail_rows(ATHLETE, detail_2019(segment_efforts=[effort, again], photos=photos))
    assert [segment["name"] for segment in rows.segments] == ["Segment, the steep one"]
    assert len(rows.segment_efforts) == 2
    assert rows.photos == [{"activity_id": 2_531_000_001, "athlete_id": ATHLETE, "use_primary_photo": True} | photo]


@pytest.mark.parametrize("photos", [None, {}, {"primary": None, "count": 0}, {"primary": {"urls": {}}}], ids=str)
def test_no_photo_is_no_row(photos: object) -> None:
    assert detail_rows(ATHLETE, detail_2019(photos=photos)).photos == []


@pytest.mark.parametrize("urls", ["https://x", {"600": 6}, ["https://x"]], ids=str)
def test_an_odd_photo_is_refused_by_name(urls: object) -> None:
    with pytest.raises(RejectedRequest, match="photos: Strava's field urls"):
        detail_rows(ATHLETE, detail_2019(photos={"primary": {"unique_id": "p", "urls": urls}}))


def test_what_is_listed_twice_keeps_its_type_apart() -> None:
    only_new = summary_2025()
    del only_new["type"]
    row = summary_row(ATHLETE, only_new)
    assert (row["type"], row["sport_type"]) == ("TrailRun", "TrailRun")


@pytest.mark.parametrize(
    ("name", "stored"),
    [("", ""), ("🏃‍♀️ läuft", "🏃‍♀️ läuft"), ('=1+1,"x"\n\t\\', '=1+1,"x"\n\t\\'), ("a\x00b", "ab"), ("\ud83c!", "?!")],
)
def test_odd_names_are_kept_as_far_as_they_can_be_stored(name: str, stored: str) -> None:
    # Through JSON, as names arrive.
    body = json.loads(json.dumps(summary_2025(name=name)))
    assert summary_row(ATHLETE, body)["name"] == stored


@pytest.mark.parametrize("number", [2**31, 2**53 + 1, 2**63 - 1])
def test_large_ids_are_exact(number: int) -> None:
    body = json.loads(json.dumps(summary_2025(id=number, upload_id=number)))
    row = summary_row(ATHLETE, body)
    assert (row["id"], row["upload_id"]) == (number, number)


@pytest.mark.parametrize("number", [None, "7", 7.0, True, 0, -1, 2**63, [7], 10**400])
def test_an_activity_without_a_usable_id_is_rejected(number: object) -> None:
    with pytest.raises(RejectedRequest, match="without a usable id"):
        activity_id(summary_2025(id=number))


@pytest.mark.parametrize("field", ["name", "start_date"])
def test_a_needed_field_that_is_missing_is_named(field: str) -> None:
    with pytest.raises(RejectedRequest, match=f"activity 16123456789: Strava's field {field} is missing"):
        summary_row(ATHLETE, summary_2025(**{field: None}))


def test_an_activity_of_no_type_is_rejected() -> None:
    with pytest.raises(RejectedRequest, match="field type is missing"):
        summary_row(ATHLETE, summary_2025(type=None, sport_type=None))


@pytest.mark.parametrize("field", payload.SUMMARY_FIELDS)
def test_a_field_of_the_wrong_type_is_named(field: str) -> None:
    # `[]` is a position, of an activity without GPS.
    with pytest.raises(RejectedRequest, match="without a usable id" if field == "id" else f"field {field} "):
        summary_row(ATHLETE, summary_2025(**{field: {"odd": 1}}))


@pytest.mark.parametrize("odd", ["Home and back", ["Home and back"], {"Home": "and back"}])
def test_no_message_holds_a_text_of_an_activity(odd: object) -> None:
    """Dagster's log keeps messages for longer than the activity may be kept."""
    for body in (summary_2025(distance=odd), summary_2025(id=odd)):
        with pytest.raises(RejectedRequest) as refused:
            summary_row(ATHLETE, body)
        assert "Home" not in str(refused.value)
    with pytest.raises(RejectedRequest, match="distance holds a text of 13 characters, which does not fit"):
        summary_row(ATHLETE, summary_2025(distance="Home and back"))
    with pytest.raises(RejectedRequest, match=r"elapsed_time holds float 0\.5, which does not fit"):
        summary_row(ATHLETE, summary_2025(elapsed_time=0.5))


@pytest.mark.parametrize("children", ["laps", "splits_metric", "splits_standard", "best_efforts", "segment_efforts"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [({"distance": "far"}, "distance"), ({"id": None, "split": None}, "missing"), ({"id": 2**63, "split": 2**31}, "")],
)
def test_an_odd_child_names_the_activity_and_the_list(children: str, changes: JsonObject, message: str) -> None:
    body = detail_2019()
    body[children] = [body[children][0] | changes]
    with pytest.raises(RejectedRequest, match=f"activity 2531000001: {children}: .*{message}"):
        detail_rows(ATHLETE, body)


@pytest.mark.parametrize("field", ["laps", "splits_metric", "best_efforts", "segment_efforts", "map", "gear"])
def test_what_hangs_on_an_activity_is_not_dropped_for_its_shape(field: str) -> None:
    with pytest.raises(RejectedRequest, match=f"activity 2531000001: Strava's field {field} "):
        detail_rows(ATHLETE, detail_2019(**{field: "odd"}))


def test_a_digest_changes_with_what_calls_for_a_new_detail() -> None:
    same = {"kudos_count": 99, "comment_count": 7, "suffer_score": 1.0, "unknown": 1}
    assert digest(summary_2025()) == digest(summary_2025(**same))
    told_apart = {digest(summary_2025(**{field: "changed"})) for field in payload.DIGEST_FIELDS}
    assert len(told_apart | {digest(summary_2025())}) == len(payload.DIGEST_FIELDS) + 1


def test_the_athlete_and_what_they_ride() -> None:
    body = athlete_2025()
    row = athlete_row(body)
    assert set(ATHLETE_FIELDS) == {column.name for column in tables.athletes.c} - {"fetched_at"}
    assert set(row) == ATHLETE_FIELDS.keys() & body.keys()
    assert (row["id"], row["firstname"], row["weight"], row["ftp"]) == (ATHLETE, "Ada", 61.0, None)
    assert row["created_at"] == datetime(2012, 1, 2, 3, 4, 5, tzinfo=UTC)
    bike, shoes = gear_rows(ATHLETE, body)
    assert (bike["id"], bike["is_primary"], bike["distance"], bike["athlete_id"]) == ("b1", True, 12.0, ATHLETE)
    assert (shoes["name"], shoes["nickname"], shoes["is_primary"]) == ("Shoes 🛠", None, False)


def test_a_summary_of_gear_leaves_alone_what_it_does_not_tell() -> None:
    row = gear_row(ATHLETE, {"id": "b1", "name": "Bike", "primary": None})
    assert row == {"id": "b1", "athlete_id": ATHLETE, "name": "Bike", "is_primary": None}


def test_gear_and_athletes_without_an_id_are_rejected() -> None:
    with pytest.raises(RejectedRequest, match="field id is missing"):
        gear_row(ATHLETE, {"name": "Shoes"})
    with pytest.raises(RejectedRequest, match="field id is missing"):
        athlete_row({})


@pytest.mark.parametrize(("odd", "field"), [({"id": None}, "id"), ({"id": "b3", "distance": "far"}, "distance")])
def test_one_bike_that_does_not_map_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture, odd: JsonObject, field: str
) -> None:
    bikes = [odd, {"id": "b2", "name": "Blue"}]
    assert [row["id"] for row in gear_rows(ATHLETE, athlete_2025(bikes=bikes))] == ["b2", "g2"]
    (warning,) = caplog.messages
    assert warning.startswith(f"one of the bikes of athlete {ATHLETE} is left out: ")
    assert f"Strava's field {field} " in warning


@pytest.mark.parametrize("field", ["bikes", "shoes"])
def test_gear_that_is_no_list_is_rejected(field: str) -> None:
    with pytest.raises(RejectedRequest, match=f"field {field} is not a list"):
        gear_rows(ATHLETE, athlete_2025(**{field: {"id": "b1"}}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELD_NAMES = st.sampled_from([*detail_2019(), *summary_2025()])


@given(st.sampled_from(SHAPES), st.dictionaries(FIELD_NAMES, json_values, max_size=3))
def test_any_change_to_a_body_gives_rows_or_a_rejection(shape: Callable[..., JsonObject], changes: JsonObject) -> None:
    body = shape(**changes)
    with contextlib.suppress(RejectedRequest):
        rows = detail_rows(ATHLETE, body)
        assert rows.activity["id"] == body["id"]
        assert len(digest(body)) == 32


@given(st.dictionaries(st.text() | FIELD_NAMES, json_values, max_size=6))
def test_any_object_gives_a_row_or_a_rejection(body: JsonObject) -> None:
    mappers: tuple[Callable[[], object], ...] = (
        lambda: summary_row(ATHLETE, body),
        lambda: detail_rows(ATHLETE, body),
        lambda: athlete_row(body),
        lambda: gear_row(ATHLETE, body),
        lambda: gear_rows(ATHLETE, body),
    )
    for mapper in mappers:
        with contextlib.suppress(RejectedRequest):
            assert mapper() is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_an_answer_written_as_text_says_the_same(value: Any) -> None:
    assert json.loads(as_json({"answer": value})) == {"answer": value}


def test_half_a_surrogate_pair_is_written_escaped() -> None:
    written = as_json({"name": "half \ud83d"})
    assert json.loads(written.encode()) == {"name": "half \ud83d"}


@pytest.mark.parametrize(
    ("start", "offset"),
    [("2024-01-01T00:00:00Z", 1e300), ("2024-01-01T00:00:00Z", -1e11), ("0001-01-01T00:00:00Z", -1)],
)
def test_an_offset_that_leads_beyond_the_calendar_is_named(start: str, offset: float) -> None:
    body = {"id": 1, "name": "far", "type": "Run", "start_date": start, "utc_offset": offset}
    with pytest.raises(RejectedRequest, match="utc_offset"):
        summary_row(ATHLETE, body)
