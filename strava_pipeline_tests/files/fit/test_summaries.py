"""Sessions, laps, lengths, pauses, devices and clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.clock import EPOCH
from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.files.fit.sports import sport_type
from strava_pipeline.files.recording import Device, Pause, PoolLength, RecordedLap, Session
from strava_pipeline.mock_strava.fit_file import Base, FitField, FitFile, Value
from strava_pipeline_tests.files.fit.made_up import (
    ACTIVITY,
    DEVICE_INFO,
    EVENT,
    FILE_ID,
    LAP,
    LENGTH,
    NOON,
    SESSION,
    SPORT,
    TIMESTAMP,
    add_messages,
    steady_file,
)

START = FitField(2, Base.UINT32)
ENUM_0, ENUM_1 = FitField(0, Base.ENUM), FitField(1, Base.ENUM)
SPORT_FIELDS = (START, FitField(5, Base.ENUM), FitField(6, Base.ENUM))
TIMER, STOP, STOP_ALL, START_AGAIN = 0, 1, 4, 0


def with_messages(message: int, fields: tuple[FitField, ...], *rows: tuple[Value, ...]) -> FitFile:
    file = steady_file(100)
    add_messages(file, 1, message, fields, *rows)
    return file


def test_a_session_tells_its_totals() -> None:
    fields = (
        *SPORT_FIELDS, FitField(7, Base.UINT32), FitField(8, Base.UINT32), FitField(9, Base.UINT32),
        FitField(22, Base.UINT16), FitField(23, Base.UINT16), FitField(57, Base.SINT8), FitField(44, Base.UINT16),
    )  # fmt: skip
    row = (NOON, 5, 17, 1_800_500, 1_700_250, 150_000, 12, 13, -3, 2_500)
    (session,) = read_fit(with_messages(SESSION, fields, row).to_bytes()).sessions
    assert session == Session(
        start=EPOCH + timedelta(seconds=NOON),
        sport="Swim",
        elapsed_s=1_800.5,
        timer_s=1_700.25,
        distance_m=1_500.0,
        ascent_m=12.0,
        descent_m=13.0,
        average_temperature_c=-3.0,
        pool_length_m=25.0,
    )


def test_a_triathlon_has_several_sessions_and_no_sport_of_its_own() -> None:
    rows = [(NOON, 5, 18), (NOON + 20, 3, 0), (NOON + 30, 2, 0), (NOON + 60, 1, 0)]
    recording = read_fit(with_messages(SESSION, SPORT_FIELDS, *rows).to_bytes())
    assert [session.sport for session in recording.sessions] == ["Swim", None, "Ride", "Run"]
    assert [session.start for session in recording.sessions] == [
        EPOCH + timedelta(seconds=NOON + second) for second in (0, 20, 30, 60)
    ]
    assert (recording.sport, recording.record_count) == (None, 100)


def test_the_sport_of_a_file_without_a_session_is_that_of_its_laps() -> None:
    lap = (START, FitField(25, Base.ENUM), FitField(39, Base.ENUM))
    assert read_fit(with_messages(LAP, lap, (NOON, 1, 3), (NOON, 1, 3)).to_bytes()).sport == "TrailRun"
    assert read_fit(with_messages(LAP, lap, (NOON, 1, 3), (NOON, 2, 0)).to_bytes()).sport is None


def test_the_sport_of_a_file_may_be_told_first() -> None:
    assert read_fit(with_messages(SPORT, (ENUM_0, ENUM_1), (2, 46)).to_bytes()).sport == "GravelRide"


def test_a_lap_tells_its_averages() -> None:
    fields = (
        START, FitField(7, Base.UINT32), FitField(8, Base.UINT32), FitField(9, Base.UINT32),
        FitField(21, Base.UINT16), FitField(13, Base.UINT16), FitField(14, Base.UINT16), FitField(111, Base.UINT32),
        FitField(15, Base.UINT8), FitField(16, Base.UINT8), FitField(17, Base.UINT8), FitField(80, Base.UINT8),
        FitField(19, Base.UINT16),
    )  # fmt: skip
    row = (NOON + 10, 60_000, 50_000, 30_000, 7, 5_000, 6_000, 70_000, 140, 160, 85, 32, 210)
    laps = read_fit(with_messages(LAP, fields, row, (None,) * len(fields), (NOON + 70, *row[1:])).to_bytes()).laps
    assert laps[0] == RecordedLap(
        start_s=10.0,
        elapsed_s=60.0,
        timer_s=50.0,
        distance_m=300.0,
        ascent_m=7.0,
        average_speed_mps=5.0,
        max_speed_mps=70.0,
        average_heartrate_bpm=140.0,
        max_heartrate_bpm=160.0,
        average_cadence_rpm=85.25,
        average_power_w=210.0,
    )
    assert [lap.start_s for lap in laps] == [10.0, 70.0]


def test_a_lap_of_another_clock_has_no_start() -> None:
    (lap,) = read_fit(with_messages(LAP, (START, FitField(9, Base.UINT32)), (500, 1_000)).to_bytes()).laps
    assert (lap.start_s, lap.distance_m) == (None, 10.0)


def test_pool_lengths_tell_strokes_and_rests() -> None:
    fields = (START, FitField(3, Base.UINT32), FitField(5, Base.UINT16), FitField(12, Base.ENUM))
    rows = [(NOON, 30_500, 18, 1), (NOON + 31, 20_000, None, 0), (NOON + 51, 29_000, 17, None)]
    assert read_fit(with_messages(LENGTH, fields, *rows).to_bytes()).lengths == (
        PoolLength(start_s=0.0, elapsed_s=30.5, strokes=18, is_active=True),
        PoolLength(start_s=31.0, elapsed_s=20.0, strokes=None, is_active=False),
        PoolLength(start_s=51.0, elapsed_s=29.0, strokes=17, is_active=True),
    )


EVENT_FIELDS = (TIMESTAMP, ENUM_0, ENUM_1)


def test_pauses_are_between_a_stop_and_the_next_start() -> None:
    rows = [
        (NOON, TIMER, START_AGAIN), (NOON + 5, TIMER, STOP_ALL), (NOON + 6, TIMER, STOP), (NOON + 7, 9, START_AGAIN),
        (NOON + 15, TIMER, START_AGAIN), (NOON + 16, TIMER, START_AGAIN), (NOON + 20, TIMER, STOP),
        (NOON + 20, TIMER, START_AGAIN), (NOON + 30, 3, STOP), (NOON + 40, TIMER, 8), (NOON + 42, TIMER, START_AGAIN),
        (NOON + 50, TIMER, 9),
    ]  # fmt: skip
    assert read_fit(with_messages(EVENT, EVENT_FIELDS, *rows).to_bytes()).pauses == (
        Pause(start_s=5.0, end_s=15.0),
        Pause(start_s=40.0, end_s=42.0),
    )


def test_events_with_short_times_are_dated() -> None:
    file = steady_file(10)
    file.define(1, EVENT, ENUM_0, ENUM_1)
    file.add(1, TIMER, STOP, time=NOON + 12)
    file.add(1, TIMER, START_AGAIN, time=NOON + 31)
    assert read_fit(file.to_bytes()).pauses == (Pause(start_s=12.0, end_s=31.0),)


DEVICE_FIELDS = (
    FitField(0, Base.UINT8), FitField(1, Base.UINT8), FitField(2, Base.UINT16), FitField(4, Base.UINT16),
    FitField(25, Base.ENUM),
)  # fmt: skip
FILE_FIELDS = (FitField(1, Base.UINT16), FitField(2, Base.UINT16))
LOCAL, BAROMETER = 5, 4


@pytest.mark.parametrize(
    ("manufacturer", "product", "device"),
    [
        (1, 3121, Device(creator="Garmin Edge 530", manufacturer="Garmin", product="Edge 530")),
        (1, 64_000, Device(creator="Garmin 64000", manufacturer="Garmin", product="64000")),
        (32, 31, Device(creator="Wahoo 31", manufacturer="Wahoo", product="31")),
        (260, None, Device(creator="Zwift", manufacturer="Zwift")),
        (9_999, 1, Device(creator="9999 1", manufacturer="9999", product="1")),
        (None, None, Device()),
    ],
)
def test_a_device_is_named_or_told_by_number(manufacturer: int | None, product: int | None, device: Device) -> None:
    assert read_fit(with_messages(FILE_ID, FILE_FIELDS, (manufacturer, product)).to_bytes()).device == device


def test_a_products_own_name_goes_first() -> None:
    fields = (*FILE_FIELDS, FitField(8, Base.STRING, 24))
    recording = read_fit(with_messages(FILE_ID, fields, (294, 841, "COROS PACE 3")).to_bytes())
    assert recording.device == Device(creator="COROS PACE 3", manufacturer="COROS", product="COROS PACE 3")


def test_a_creator_among_the_devices_is_the_device_of_a_file_that_names_none() -> None:
    rows = [(1, 120, 89, 5, 1), (0, None, 1, 3843, LOCAL)]
    device = read_fit(with_messages(DEVICE_INFO, DEVICE_FIELDS, *rows).to_bytes()).device
    assert (device.creator, device.has_barometer) == ("Garmin Edge 1040", None)


def test_a_barometer_is_a_local_device() -> None:
    rows = [(1, BAROMETER, 1, None, 1), (2, 0, 1, None, LOCAL)]
    assert read_fit(with_messages(DEVICE_INFO, DEVICE_FIELDS, *rows).to_bytes()).device.has_barometer is None
    rows.append((3, BAROMETER, 1, None, LOCAL))
    assert read_fit(with_messages(DEVICE_INFO, DEVICE_FIELDS, *rows).to_bytes()).device.has_barometer is True


@pytest.mark.parametrize(
    ("offset", "told"), [(7_200, 7_200), (-12_600, -12_600), (54_000, 54_000), (54_001, None), (-NOON + 60, None)]
)
def test_the_clock_of_the_watch_is_believed_within_fifteen_hours(offset: int, told: int | None) -> None:
    content = with_messages(ACTIVITY, (TIMESTAMP, FitField(5, Base.UINT32)), (NOON, NOON + offset)).to_bytes()
    assert read_fit(content).local_offset_s == told


def test_endless_laps_are_refused() -> None:
    file = with_messages(LAP, (FitField(9, Base.UINT8),))
    file.add_raw(b"\1\5" * 100_001)
    with pytest.raises(UnreadableFile, match="more than 100,000 laps"):
        read_fit(file.to_bytes())


@pytest.mark.parametrize(
    ("sport", "sub_sport", "word"),
    [
        (2, 0, "Ride"), (2, 7, "Ride"), (2, 8, "MountainBikeRide"), (2, 46, "GravelRide"), (2, 58, "VirtualRide"),
        (2, 6, "Ride"), (2, 12, "Handcycle"), (2, 28, "EBikeRide"), (21, 47, "EMountainBikeRide"), (21, 0, "EBikeRide"),
        (1, 0, "Run"), (1, 1, "Run"), (1, 3, "TrailRun"), (1, 58, "VirtualRun"), (5, 17, "Swim"), (5, 18, "Swim"),
        (11, 0, "Walk"), (17, 0, "Hike"), (12, 0, "NordicSki"), (12, 42, "NordicSki"), (13, 38, "AlpineSki"),
        (13, 37, "BackcountrySki"), (14, 0, "Snowboard"), (15, 0, "Rowing"), (4, 14, "Rowing"), (15, 58, "VirtualRow"),
        (10, 20, "WeightTraining"), (4, 20, "WeightTraining"), (10, 43, "Yoga"), (10, 44, "Pilates"),
        (4, 15, "Elliptical"), (4, 16, "StairStepper"), (62, 70, "HighIntensityIntervalTraining"),
        (10, 26, "Workout"), (31, 69, "RockClimbing"), (64, 97, "TableTennis"), (37, 0, "StandUpPaddling"),
        (0, 0, None), (200, 0, None), (None, None, None), (2, None, "Ride"), (2, 250, "Ride"), (None, 43, "Yoga"),
        (18, 0, None),
    ],
)  # fmt: skip
def test_sports_are_told_in_stravas_words(sport: int | None, sub_sport: int | None, word: str | None) -> None:
    assert sport_type(sport, sub_sport) == word
