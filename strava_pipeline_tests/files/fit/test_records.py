"""Samples and channels from records."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.files.recording import Damage, Recording
from strava_pipeline.mock_strava.fit_file import Base, DeveloperField, FitField, FitFile, Value
from strava_pipeline_tests.files.fit.made_up import (
    ALTITUDE,
    CADENCE,
    DESCRIPTION,
    DISTANCE,
    HEART_RATE,
    LATITUDE,
    LONGITUDE,
    NOON,
    POWER,
    RECORD,
    SPEED,
    TIMESTAMP,
    add_messages,
    file_of,
)
from strava_pipeline_tests.files.fit.oracle import assert_same_records, records_by_fitdecode

NAN = np.nan
DESCRIPTION_FIELDS = (
    FitField(0, Base.UINT8),
    FitField(1, Base.UINT8),
    FitField(2, Base.UINT8),
    FitField(3, Base.STRING, 16),
    FitField(8, Base.STRING, 8),
    FitField(6, Base.UINT8),
    FitField(7, Base.SINT8),
)
TEMPERATURE, FRACTION = FitField(13, Base.SINT8), FitField(53, Base.UINT8)
ENHANCED_SPEED, ENHANCED_ALTITUDE = FitField(73, Base.UINT32), FitField(78, Base.UINT32)


def recorded(fields: tuple[FitField, ...], *rows: tuple[Value, ...]) -> Recording:
    """Return what is read of records in both byte orders, which are the same, and as fitdecode reads them."""
    little, big = (file_of(fields, *rows, is_big_endian=order).to_bytes() for order in (False, True))
    recording = read_fit(little)
    records = records_by_fitdecode(little)
    if fields[0] is TIMESTAMP:
        assert_same_records(recording, records)
        assert_same_records(read_fit(big), records)
    return recording


def assert_samples(values: object, expected: list[float]) -> None:
    assert isinstance(values, np.ndarray)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_streams_are_scaled() -> None:
    fields = (TIMESTAMP, ALTITUDE, HEART_RATE, CADENCE, DISTANCE, SPEED, POWER, TEMPERATURE)
    recording = recorded(fields, (NOON, 2_500, 150, 90, 12_345, 8_500, 250, -5))
    assert_samples(recording.altitude, [0.0])
    assert_samples(recording.heartrate, [150])
    assert_samples(recording.cadence, [90])
    assert_samples(recording.distance, [123.45])
    assert_samples(recording.speed, [8.5])
    assert_samples(recording.watts, [250])
    assert_samples(recording.temp, [-5])


def test_missing_values_are_nan_and_missing_streams_none() -> None:
    fields = (TIMESTAMP, ALTITUDE, HEART_RATE, DISTANCE, TEMPERATURE, POWER)
    recording = recorded(fields, (NOON, None, 100, None, None, None), (NOON + 1, 3_000, None, 500, 20, None))
    assert_samples(recording.altitude, [NAN, 100])
    assert_samples(recording.heartrate, [100, NAN])
    assert_samples(recording.distance, [NAN, 5])
    assert_samples(recording.temp, [NAN, 20])
    assert (recording.watts, recording.cadence, recording.latitude, recording.speed) == (None, None, None, None)


def test_finer_altitude_and_speed_go_first() -> None:
    fields = (TIMESTAMP, ALTITUDE, ENHANCED_ALTITUDE, SPEED, ENHANCED_SPEED)
    recording = recorded(fields, (NOON, 2_600, 2_605, 1_000, 2_000), (NOON + 1, 2_700, None, 3_000, None))
    assert_samples(recording.altitude, [21, 40])
    assert_samples(recording.speed, [2, 3])


def test_fractions_of_the_cadence_are_added() -> None:
    recording = recorded((TIMESTAMP, CADENCE, FRACTION), (NOON, 80, 64), (NOON + 1, 81, None), (NOON + 2, None, 64))
    assert_samples(recording.cadence, [80.5, 81, NAN])


def test_positions_are_degrees() -> None:
    recording = recorded((TIMESTAMP, LATITUDE, LONGITUDE), (NOON, 2**29, -(2**30)), (NOON + 1, None, None))
    assert_samples(recording.latitude, [45, NAN])
    assert_samples(recording.longitude, [-90, NAN])
    assert recording.damage == ()


def test_a_position_before_the_first_fix_is_none() -> None:
    recording = read_fit(file_of((LATITUDE, LONGITUDE), (0, 0), (0, 5), (None, 7), (7, None)).to_bytes())
    assert_samples(recording.latitude, [NAN, 0, NAN, NAN])
    assert_samples(recording.longitude, [NAN, 5 * 180 / 2**31, NAN, NAN])


def test_a_latitude_beyond_the_pole_is_left_out_and_told() -> None:
    recording = read_fit(file_of((LATITUDE, LONGITUDE), (2**30, 8), (2**30 + 1, 8)).to_bytes())
    assert_samples(recording.latitude, [90, NAN])
    assert recording.damage == (Damage.BAD_VALUE,)


def test_records_of_several_definitions_keep_their_order() -> None:
    file = FitFile()
    file.define(0, RECORD, TIMESTAMP, HEART_RATE)
    file.define(1, RECORD, TIMESTAMP, POWER, HEART_RATE)
    for number in range(60):
        if number % 3:
            file.add(0, NOON + number, 100 + number)
        else:
            file.add(1, NOON + number, 2 * number, 100 + number)
    content = file.to_bytes()
    recording = read_fit(content)
    assert_samples(recording.heartrate, [100 + number for number in range(60)])
    assert_samples(recording.watts, [NAN if number % 3 else 2 * number for number in range(60)])
    assert_same_records(recording, records_by_fitdecode(content))


def test_speed_and_distance_in_three_bytes_are_taken_apart() -> None:
    def packed(speed_cms: int, sixteenths: int) -> bytes:
        return (speed_cms | (sixteenths & 0xFFF) << 12).to_bytes(3, "little")

    rows = [(packed(300, 0),), (packed(310, 4_000),), (b"\xff" * 3,), (packed(320, 8_000),), (packed(330, 12_000),)]
    content = file_of((TIMESTAMP, FitField(8, Base.BYTE, 3)), *((NOON, *row) for row in rows)).to_bytes()
    recording = read_fit(content)
    assert_samples(recording.distance, [0, 250, NAN, 500, 750])
    assert_samples(recording.speed, [3, 3.1, NAN, 3.2, 3.3])


def test_other_fields_become_channels() -> None:
    fields = (TIMESTAMP, FitField(39, Base.UINT16), FitField(30, Base.UINT8), FitField(69, Base.UINT8, 2))
    recording = recorded(fields, (NOON, 85, 0xB2, (10, None)), (NOON + 1, None, 50, (20, 30)))
    channels = {channel.name: channel for channel in recording.channels}
    assert [*channels] == ["left_right_balance", "vertical_oscillation", "left_power_phase_1", "left_power_phase_2"]
    assert channels["vertical_oscillation"].unit == "mm"
    assert_samples(channels["vertical_oscillation"].values, [8.5, NAN])
    assert_samples(channels["left_power_phase_2"].values, [NAN, 30 / 0.7111111])


def described(*descriptions: tuple[Value, ...]) -> FitFile:
    return file_of(DESCRIPTION_FIELDS, *descriptions, message=DESCRIPTION)


def test_developers_fields_become_channels_by_their_description() -> None:
    file = described((0, 3, Base.FLOAT32, "Air Power", "Watts", None, None), (0, 4, Base.UINT16, "Core", "C", 100, 10))
    fields = (TIMESTAMP, DeveloperField(3, Base.FLOAT32), DeveloperField(4, Base.UINT16))
    add_messages(file, 1, RECORD, fields, (NOON, 12.5, 4_812), (NOON + 1, None, None))
    first, second = read_fit(file.to_bytes()).channels
    assert ((first.name, first.unit), (second.name, second.unit)) == (("Air Power", "Watts"), ("Core", "C"))
    assert_samples(first.values, [12.5, NAN])
    assert_samples(second.values, [38.12, NAN])


@pytest.mark.parametrize("base", [base for base in Base if base not in {Base.STRING, Base.BYTE}])
def test_developers_fields_may_be_of_any_base_type(base: Base) -> None:
    for is_big_endian in (False, True):
        file = FitFile(is_big_endian=is_big_endian)
        add_messages(file, 0, DESCRIPTION, DESCRIPTION_FIELDS, (7, 1, base, "x", None, None, None))
        add_messages(file, 1, RECORD, (TIMESTAMP, DeveloperField(1, base, developer=7)), (NOON, 77), (NOON, None))
        (channel,) = read_fit(file.to_bytes()).channels
        assert (channel.name, channel.unit) == ("x", None)
        assert_samples(channel.values, [77, NAN])


def test_texts_of_developers_are_no_channels() -> None:
    file = described((0, 1, Base.STRING, "note", None, None, None), (0, 2, Base.BYTE, "blob", None, None, None))
    fields = (TIMESTAMP, DeveloperField(1, Base.STRING, 8), DeveloperField(2, Base.BYTE, 8))
    add_messages(file, 1, RECORD, fields, (NOON, "hello", b"\1" * 8))
    recording = read_fit(file.to_bytes())
    assert (recording.channels, recording.damage) == ((), ())


def test_a_developers_field_without_description_is_left_out_and_told() -> None:
    file = file_of((TIMESTAMP, DeveloperField(1, Base.UINT16)), (NOON, 5))
    recording = read_fit(file.to_bytes())
    assert (recording.channels, recording.damage) == ((), (Damage.BAD_FIELD,))


def test_channels_of_one_name_are_told_apart() -> None:
    numbers = ((0, 1), (0, 2), (1, 1))
    file = described(*((*key, Base.UINT8, "Power", "W", None, None) for key in numbers))
    fields = (DeveloperField(number, Base.UINT8, developer=developer) for developer, number in numbers)
    add_messages(file, 1, RECORD, (TIMESTAMP, *fields), (NOON, 1, 2, 3))
    channels = read_fit(file.to_bytes()).channels
    assert [(channel.name, list(channel.values)) for channel in channels] == [
        ("Power", [1]),
        ("Power_2", [2]),
        ("Power_3", [3]),
    ]


def test_a_developers_field_goes_on_through_chained_files() -> None:
    parts = []
    for value in (5, 6):
        file = described((0, value, Base.UINT8, "Strain", None, None, None))
        add_messages(file, 1, RECORD, (TIMESTAMP, DeveloperField(value, Base.UINT8)), (NOON + value, value))
        parts.append(file.to_bytes())
    (channel,) = read_fit(b"".join(parts)).channels
    assert_samples(channel.values, [5, 6])


def test_a_name_that_is_no_text_is_read_with_marks() -> None:
    file = described((0, 1, Base.UINT8, b"M\xfcdigkeit", None, None, None), (0, 2, Base.UINT8, "", None, None, None))
    fields = (TIMESTAMP, DeveloperField(1, Base.UINT8), DeveloperField(2, Base.UINT8))
    add_messages(file, 1, RECORD, fields, (NOON, 1, 2))
    names = [channel.name for channel in read_fit(file.to_bytes()).channels]
    assert names == ["M\N{REPLACEMENT CHARACTER}digkeit", "developer_0_2"]


def test_numbers_that_are_none_are_left_out() -> None:
    file = described((0, 1, Base.FLOAT32, "x", None, None, None))
    fields = (TIMESTAMP, DeveloperField(1, Base.FLOAT32))
    add_messages(file, 1, RECORD, fields, (NOON, 1.5), (NOON, float("inf")), (NOON, float("nan")))
    assert_samples(read_fit(file.to_bytes()).channels[0].values, [1.5, NAN, NAN])


FIELDS = (HEART_RATE, CADENCE, ALTITUDE, DISTANCE, SPEED, ENHANCED_SPEED, POWER, TEMPERATURE, FitField(32, Base.SINT16))


@settings(max_examples=50)
@given(st.data())
def test_any_records_are_read_as_another_decoder_reads_them(data: st.DataObject) -> None:
    file = FitFile(is_big_endian=data.draw(st.booleans()))
    kinds = data.draw(st.lists(st.lists(st.sampled_from(FIELDS), unique=True, max_size=6), min_size=1, max_size=4))
    for local, fields in enumerate(kinds):
        file.define(local, RECORD, TIMESTAMP, *fields)
    for number, local in enumerate(data.draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=30))):
        values = (data.draw(st.none() | st.integers(0, int(field.invalid))) for field in kinds[local])
        file.add(local, NOON + number, *values)
    content = file.to_bytes()
    assert_same_records(read_fit(content, check=True), records_by_fitdecode(content))
