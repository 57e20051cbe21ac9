"""Streams in Strava's shape, each rule on a made-up recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import gpxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Device, Recording, Samples, Session
from strava_pipeline.files.shaping import Shaped, Source, shape
from strava_pipeline_tests.files.xml_documents import sample

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
Told = Sequence[float | None]


def _recording(time: Told, *, kind: FileKind = FileKind.FIT, start: datetime | None = START, **more: Any) -> Recording:
    series: dict[str, Any] = {name: None if values is None else _samples(values) for name, values in more.items()}
    return Recording(kind=kind, start=start, time=_samples(time), **series)


def _samples(values: Told) -> Samples:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _shaped(
    recording: Recording,
    *,
    start: datetime | None = None,
    elapsed_s: int | None = None,
    distance_m: float | None = None,
) -> Shaped:
    return shape(recording, start=start, elapsed_s=elapsed_s, distance_m=distance_m, activity_id=7, athlete_id=1)


def test_one_sample_a_record_in_whole_seconds_since_the_start() -> None:
    recording = _recording([0, 1.25, 4.9], altitude=[1, 2, 3], start=START + timedelta(milliseconds=500))
    streams = _shaped(recording).streams
    assert (streams.activity_id, streams.athlete_id, streams.point_count) == (7, 1, 3)
    assert streams.time == [0, 1, 5]


def test_records_are_put_in_order_and_one_a_second_stays() -> None:
    recording = _recording(
        [0, 10, 5, 5.4, 5.6], altitude=[0, 10, None, 54, 56], cadence=[80, 90, 85, 86, 87], kind=FileKind.GPX
    )
    shaped = _shaped(recording)
    assert shaped.streams.time == [0, 5, 10]
    # The first of a second counts, and the next one for what the first does not tell.
    assert shaped.streams.altitude == [0, 54, 10]
    assert shaped.streams.cadence == [80, 85, 90]
    assert shaped.records.tolist() == [0, 2, 1]


def test_decimals_are_stravas() -> None:
    recording = _recording(
        [0, 1],
        latitude=[50.12345678, 50.2],
        longitude=[7.98765432, 7.3],
        altitude=[100.16, -0.04],
        distance=[0.04, 9.96],
        temp=[21.4, 22],
        watts=[200.5001, None],
        cadence=[85.9, 86],
    )
    streams = _shaped(recording).streams
    assert streams.latitude == [50.123457, 50.2]
    assert streams.longitude == [7.987654, 7.3]
    assert streams.altitude == [100.2, 0.0]
    assert str(streams.altitude) == "[100.2, 0.0]"
    assert streams.distance == [0.0, 10.0]
    assert streams.temp == [21, 22]
    assert streams.watts == [201, None]
    assert streams.cadence == [85, 86]


def test_what_is_not_recorded_is_not_made_up() -> None:
    shaped = _shaped(_recording([0, 1], distance=[0, 5], speed=[5, 5]))
    streams = shaped.streams
    absent = (
        streams.velocity_smooth, streams.grade_smooth, streams.moving, streams.heartrate, streams.altitude,
        streams.latitude, streams.longitude, streams.cadence, streams.watts, streams.temp, streams.other,
    )  # fmt: skip
    assert absent == (None,) * len(absent)
    assert shaped.sources == {"time": Source.RECORDED, "distance": Source.RECORDED}


def test_a_missing_heart_rate_is_the_last_one_and_before_the_first_that_one() -> None:
    shaped = _shaped(_recording([0, 1, 2, 3, 4], heartrate=[None, 100, None, None, 120]))
    assert shaped.streams.heartrate == [100, 100, 100, 100, 120]
    assert shaped.sources["heartrate"] is Source.FILLED


def test_heart_rates_of_zero_only_are_none() -> None:
    shaped = _shaped(_recording([0, 1, 2], heartrate=[0, None, 0]))
    assert shaped.streams.heartrate is None
    assert "heartrate" not in shaped.sources


def test_missing_distances_and_positions_lie_on_a_line() -> None:
    shaped = _shaped(
        _recording(
            [0, 1, 4, 5],
            distance=[0, None, None, 50],
            latitude=[50, None, None, 50.005],
            longitude=[7, None, None, 7.01],
        )
    )
    assert shaped.streams.distance == [0, 10, 40, 50]
    assert shaped.streams.latitude == [50, 50.001, 50.004, 50.005]
    assert shaped.streams.longitude == [7, 7.002, 7.008, 7.01]
    assert [shaped.sources[name] for name in ("distance", "latitude", "longitude")] == [Source.FILLED] * 3


def test_a_distance_that_is_first_told_after_a_while_grows_from_0() -> None:
    swim = _shaped(_recording([0, 10, 20, 30], distance=[None, None, 25, None]))
    assert swim.streams.distance == [0, 12.5, 25, 25]
    later_leg = _shaped(_recording([0, 10, 20], distance=[None, 40_000, 40_020]), distance_m=40_020)
    assert later_leg.streams.distance == [40_000, 40_000, 40_020]


def test_positions_across_the_date_line_lie_on_the_short_line() -> None:
    shaped = _shaped(_recording([0, 1, 2], latitude=[0.1, None, 0.1], longitude=[179.999, None, -179.997]))
    assert shaped.streams.longitude == [179.999, -179.999, -179.997]


def test_repeated_places_are_filled_where_the_device_says_that_it_moves() -> None:
    still: dict[str, Any] = {"latitude": [50, 50, 50.002], "longitude": [7, 7, 7.002], "distance": [100, 100, 120]}
    moved = _shaped(_recording([0, 1, 2], **still, speed=[5, 5, 5]), distance_m=120).streams
    assert (moved.distance, moved.latitude, moved.longitude) == (
        [100, 110, 120],
        [50, 50.001, 50.002],
        [7, 7.001, 7.002],
    )
    stood = _shaped(_recording([0, 1, 2], **still, speed=[5, 0, 5]), distance_m=120).streams
    assert (stood.distance, stood.latitude) == ([100, 100, 120], [50, 50, 50.002])
    unknown = _shaped(_recording([0, 1, 2], **still), distance_m=120)
    assert unknown.streams.distance == [100, 100, 120]
    assert unknown.sources["distance"] is Source.RECORDED


def test_positions_before_the_first_fix_are_no_place_in_the_gulf_of_guinea() -> None:
    shaped = _shaped(_recording([0, 1, 2], latitude=[0, 0, 50], longitude=[0, 0, 7]))
    assert (shaped.streams.latitude, shaped.streams.longitude) == ([50, 50, 50], [7, 7, 7])
    nowhere = _shaped(_recording([0, 1], latitude=[0, 0], longitude=[0, 0]))
    assert (nowhere.streams.latitude, nowhere.streams.distance) == (None, None)


def test_missing_altitude_cadence_power_and_temperature_stay_missing() -> None:
    gaps: Any = [5, None, 7]
    streams = _shaped(_recording([0, 1, 2], altitude=gaps, cadence=gaps, watts=gaps, temp=gaps)).streams
    assert [streams.altitude, streams.cadence, streams.watts, streams.temp] == [[5, None, 7]] * 4


def test_what_only_records_without_time_tell_is_none() -> None:
    shaped = _shaped(
        _recording([0, None, 1], distance=[None, 5, None], heartrate=[None, 100, None], altitude=[1, 2, 3])
    )
    assert (shaped.streams.distance, shaped.streams.heartrate) == (None, None)
    assert (shaped.streams.altitude, shaped.records.tolist()) == ([1, 3], [0, 2])


def test_distance_is_computed_on_a_sphere_where_none_is_recorded() -> None:
    recording = _recording([0, 1, 2], latitude=[0, 0, 1], longitude=[1, 2, 2], kind=FileKind.GPX)
    shaped = _shaped(recording)
    degree = 6_376_800 * np.pi / 180
    assert shaped.streams.distance == pytest.approx([0, degree, 2 * degree], abs=0.05)
    assert shaped.sources["distance"] is Source.COMPUTED
    zeros = replace(recording, distance=_samples([0, 0, 0]))
    assert _shaped(zeros).streams.distance == shaped.streams.distance


def test_the_way_of_stravas_app_counts_in_steps_of_three_metres() -> None:
    metre = 180 / np.pi / 6_376_800
    wobbling = _recording(
        [0, 1, 2, 3, 4],
        latitude=[0.1 + metre * north for north in (0, 1, 0, 1, 4)],
        longitude=[7] * 5,
        kind=FileKind.GPX,
    )
    assert _shaped(wobbling).streams.distance == [0, 1, 2, 3, 6]
    by_app = replace(wobbling, device=Device(creator="StravaGPX iPhone"))
    assert _shaped(by_app).streams.distance == [0, 1, 2, 3, 4]


def _ride(seconds: int, *, kind: FileKind = FileKind.FIT, stands_after: int | None = None, **more: Any) -> Recording:
    """A recording of 5 m/s with a record each second; it may stand still at the end."""
    moving = [5.0 * min(second, stands_after or seconds) for second in range(seconds + 1)]
    return _recording(list(range(seconds + 1)), distance=moving, kind=kind, **more)


def test_records_outside_of_the_row_are_cropped_where_that_fits_the_distance() -> None:
    shaped = _shaped(_ride(100), start=START + timedelta(seconds=20), elapsed_s=60, distance_m=300)
    assert (shaped.is_cropped, shaped.start) == (True, START + timedelta(seconds=20))
    assert shaped.streams.time == list(range(61))
    assert shaped.streams.distance == [5.0 * second for second in range(61)]
    assert (shaped.records[0], shaped.records[-1], shaped.shift_s) == (20, 80, 20)


def test_a_crop_at_the_end_keeps_the_distance_at_the_first_record() -> None:
    recording = _recording([0, 1, 2, 3], distance=[3.4, 8.4, 13.4, 18.4])
    shaped = _shaped(recording, start=START, elapsed_s=2, distance_m=10)
    assert (shaped.streams.distance, shaped.is_cropped) == ([3.4, 8.4, 13.4], True)


def test_the_whole_file_stays_where_that_fits_the_distance() -> None:
    shaped = _shaped(_ride(100), start=START, elapsed_s=60, distance_m=500)
    assert (shaped.is_cropped, shaped.streams.point_count) == (False, 101)
    early = _shaped(_ride(100), start=START + timedelta(seconds=20), elapsed_s=60, distance_m=500)
    assert (early.start, early.streams.time) == (START, list(range(101)))


def test_where_the_distance_does_not_tell_gpx_stays_whole_and_others_are_cropped() -> None:
    for kind, count in ((FileKind.FIT, 61), (FileKind.TCX, 61), (FileKind.GPX, 101)):
        stood = _ride(100, kind=kind, stands_after=60)
        assert _shaped(stood, start=START, elapsed_s=60, distance_m=300).streams.point_count == count
        assert _shaped(stood, start=START, elapsed_s=60).streams.point_count == count


def test_a_file_within_the_row_counts_since_the_rows_start() -> None:
    shaped = _shaped(_ride(10), start=START - timedelta(seconds=5), elapsed_s=60, distance_m=50)
    assert (shaped.is_cropped, shaped.shift_s) == (False, -5)
    assert shaped.streams.time == list(range(5, 16))


def test_a_clock_without_a_date_begins_at_the_rows_start() -> None:
    shaped = _shaped(_ride(10, start=None), start=START, elapsed_s=10, distance_m=50)
    assert (shaped.start, shaped.is_cropped, shaped.shift_s) == (START, False, 0)
    assert shaped.streams.time == list(range(11))


def test_the_shift_takes_times_of_the_recording_to_those_of_the_streams() -> None:
    undated = _recording([12, 10, 13], start=None, altitude=[2, 0, 3])
    shaped = _shaped(undated, start=START, elapsed_s=3)
    assert (shaped.streams.time, shaped.streams.altitude, shaped.shift_s) == ([0, 2, 3], [0, 2, 3], 10)


def test_a_clock_with_another_date_than_the_row_begins_at_the_rows_start() -> None:
    shaped = _shaped(_ride(10), start=START + timedelta(days=400), elapsed_s=10, distance_m=50)
    assert (shaped.start, shaped.is_cropped) == (START + timedelta(days=400), False)
    assert shaped.streams.time == list(range(11))


def test_records_from_before_the_clock_was_set_are_left_out() -> None:
    recording = _recording([0, 200_000_000, 200_000_001, 200_000_002], altitude=[1, 2, 3, 4])
    shaped = _shaped(recording)
    assert (shaped.streams.time, shaped.streams.altitude) == ([0, 1, 2], [2, 3, 4])
    assert shaped.start == START + timedelta(seconds=200_000_000)


def test_of_two_records_in_different_years_the_later_one_stays() -> None:
    shaped = _shaped(_recording([0, 200_000_000], altitude=[1, 2]))
    assert (shaped.streams.time, shaped.streams.altitude) == ([0], [2])


def _triathlon() -> Recording:
    swim, ride = (
        Session(start=START, elapsed_s=9, sport="Swim"),
        Session(start=START + timedelta(seconds=10), elapsed_s=20, sport="Ride"),
    )
    distance = [float(second) for second in range(10)] + [5.0 * second for second in range(21)]
    return replace(_recording(list(range(31)), distance=distance), sessions=(swim, ride))


def test_of_several_sessions_the_one_that_fits_the_row_is_taken() -> None:
    swim = _shaped(_triathlon(), start=START, elapsed_s=9, distance_m=9)
    assert (swim.streams.point_count, swim.is_cropped) == (10, True)
    ride = _shaped(_triathlon(), start=START + timedelta(seconds=11), elapsed_s=19, distance_m=None)
    assert (ride.streams.time, ride.is_cropped) == (list(range(20)), True)
    assert ride.streams.distance == [5.0 * second for second in range(20)]


def test_several_sessions_in_one_activity_are_one_way() -> None:
    distance = _shaped(_triathlon()).streams.distance
    assert distance == [float(second) for second in range(10)] + [9 + 5.0 * second for second in range(21)]
    whole = _shaped(_triathlon(), start=START, elapsed_s=30, distance_m=109)
    assert (whole.streams.distance, whole.is_cropped) == (distance, False)


def test_a_distance_that_goes_on_from_a_leg_before_begins_at_0() -> None:
    recording = _recording([0, 1, 2], distance=[40_000, 40_005, 40_010])
    assert _shaped(recording, distance_m=10).streams.distance == [0, 5, 10]
    assert _shaped(recording).streams.distance == [0, 5, 10]
    assert _shaped(recording, distance_m=40_010).streams.distance == [40_000, 40_005, 40_010]


@pytest.mark.parametrize("time", [[], [None, None], [None, None, None, 1]])
def test_without_usable_times_there_are_no_streams(time: Told) -> None:
    shaped = _shaped(_recording(time, altitude=[5.0] * len(time)), start=START, elapsed_s=10, distance_m=10)
    assert (shaped.streams.point_count, shaped.streams.time, shaped.streams.altitude) == (0, None, None)
    assert (shaped.sources, len(shaped.records)) == ({}, 0)


def test_a_file_almost_without_times_has_no_streams() -> None:
    assert _shaped(read_gpx(sample("no_times.gpx"))).streams.point_count == 0


def test_a_run_of_stravas_app_is_shaped() -> None:
    document = sample("strava_gpx_hr_cad.gpx.gz")
    shaped = _shaped(read_gpx(document))
    assert shaped.streams.point_count == 400
    assert shaped.streams.distance is not None
    # Another reader's length, on a sphere of 6,378.1 km.
    length = gpxpy.parse(document.decode()).length_2d() * 6_376.8 / 6_378.137
    assert shaped.streams.distance[-1] == pytest.approx(length, rel=0.005)
    assert set(shaped.sources) == {"time", "latitude", "longitude", "altitude", "distance", "heartrate", "cadence"}


@st.composite
def _recordings(draw: st.DrawFn) -> Recording:
    seconds = st.one_of(st.none(), st.floats(0, 1_000), st.floats(-1e9, 1e9))
    time = draw(st.lists(seconds, min_size=1, max_size=30))

    def series(least: float, most: float) -> list[float | None] | None:
        value = st.one_of(st.none(), st.floats(least, most))
        return draw(st.one_of(st.none(), st.lists(value, min_size=len(time), max_size=len(time))))

    # A millionth of a degree is what streams tell apart.
    steps = series(-80_000_000, 80_000_000)
    latitude = steps and [None if step is None else round(step) / 1_000_000 for step in steps]
    return _recording(
        time,
        kind=draw(st.sampled_from(FileKind)),
        start=draw(st.sampled_from([None, START])),
        latitude=latitude,
        longitude=None if latitude is None else [None if value is None else 2 * value for value in latitude],
        altitude=series(-100, 5_000),
        distance=series(0, 90),
        heartrate=series(0, 220),
        cadence=series(0, 200),
        watts=series(0, 1_500),
        temp=series(-20, 40),
    )


@settings(max_examples=80, deadline=None)
@given(_recordings(), st.integers(-50, 500), st.integers(0, 1_000), st.one_of(st.none(), st.floats(0, 100)))
def test_streams_are_equally_long_ascending_and_without_holes(
    recording: Recording, begin: int, elapsed: int, distance: float | None
) -> None:
    shaped = _shaped(recording, start=START + timedelta(seconds=begin), elapsed_s=elapsed, distance_m=distance)
    streams = shaped.streams
    series = {name: getattr(streams, name) for name in shaped.sources}
    assert {len(values) for values in series.values()} <= {streams.point_count}
    assert len(shaped.records) == streams.point_count
    if streams.time is None:
        return
    assert streams.time[0] is not None
    assert streams.time[0] >= 0
    assert all(np.diff(np.array(streams.time, dtype=np.float64)) > 0)
    for name in ("latitude", "longitude", "distance", "heartrate"):
        assert None not in series.get(name, [])


@settings(max_examples=80, deadline=None)
@given(_recordings())
def test_shaping_what_was_shaped_changes_nothing(recording: Recording) -> None:
    streams = _shaped(recording).streams
    if streams.time is None:
        return
    names = ("latitude", "longitude", "altitude", "distance", "heartrate", "cadence", "watts", "temp")
    again = _recording(
        [float(second) for second in streams.time if second is not None],
        kind=recording.kind,
        **{name: getattr(streams, name) for name in names},
    )
    assert _shaped(again).streams == streams
