"""The bytes of FIT files: headers, definitions, orders, parts, ends."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta

import numpy as np
import pytest

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.clock import EPOCH
from strava_pipeline.files.fit.columns import FEWEST_CELLS
from strava_pipeline.files.fit.reader import read_fit
from strava_pipeline.files.recording import Damage
from strava_pipeline.mock_strava.fit_file import Base, FitField, FitFile
from strava_pipeline_tests.files.fit.made_up import (
    DISTANCE,
    EVENT,
    HEART_RATE,
    NOON,
    RECORD,
    TIMESTAMP,
    add_messages,
    file_of,
    steady_file,
)
from strava_pipeline_tests.files.fit.oracle import assert_same_records, records_by_fitdecode

RATES = [100, 110, 120]


def rates_of(content: bytes) -> list[float]:
    recording = read_fit(content)
    assert recording.heartrate is not None
    return list(map(float, recording.heartrate))


@pytest.mark.parametrize("is_big_endian", [False, True])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 100, 5_000])
def test_runs_of_any_length_are_read_whole(count: int, *, is_big_endian: bool) -> None:
    content = steady_file(count, is_big_endian=is_big_endian).to_bytes()
    recording = read_fit(content, check=True)
    assert recording.damage == ()
    assert_same_records(recording, records_by_fitdecode(content))


@pytest.mark.parametrize("header_size", [12, 14])
def test_both_sizes_of_header_are_read(header_size: int) -> None:
    file = FitFile(header_size=header_size)
    add_messages(file, 0, RECORD, (TIMESTAMP, HEART_RATE), *((NOON, rate) for rate in RATES))
    recording = read_fit(file.to_bytes(), check=True)
    assert (recording.record_count, recording.damage) == (3, ())


def test_sixteen_local_types_interleave() -> None:
    file = FitFile()
    for local in range(16):
        file.define(local, RECORD, TIMESTAMP, *([FitField(40 + local, Base.UINT8)] * local), HEART_RATE)
    for number in range(400):
        local = number * 7 % 16
        file.add(local, NOON + number, *([1] * local), number % 200)
    assert rates_of(file.to_bytes()) == [number % 200 for number in range(400)]


def test_a_local_type_may_be_defined_anew() -> None:
    file = FitFile()
    for number, fields in enumerate([(TIMESTAMP, HEART_RATE), (HEART_RATE, TIMESTAMP), (TIMESTAMP, HEART_RATE)]):
        values = {TIMESTAMP: NOON + number, HEART_RATE: RATES[number]}
        add_messages(file, 0, RECORD, fields, tuple(values[field] for field in fields))
    content = file.to_bytes()
    assert rates_of(content) == RATES
    assert list(read_fit(content).time) == [0, 1, 2]


def test_short_times_in_headers_go_on_from_the_last_full_time() -> None:
    file = FitFile()
    file.define(0, RECORD, TIMESTAMP, HEART_RATE)
    file.define(1, RECORD, HEART_RATE)
    moments = [0, 5, 5, 30, 61, 62, 90, 121]
    file.add(0, NOON, 60)
    for moment in moments[1:]:
        file.add(1, 60 + moment, time=NOON + moment)
    content = file.to_bytes()
    recording = read_fit(content)
    assert list(recording.time) == moments
    assert recording.start == EPOCH + timedelta(seconds=NOON)
    assert_same_records(recording, records_by_fitdecode(content))


def test_short_times_go_on_from_an_event() -> None:
    file = file_of((TIMESTAMP, FitField(0, Base.ENUM), FitField(1, Base.ENUM)), (NOON, 0, 0), message=EVENT)
    file.define(1, RECORD, HEART_RATE)
    for number in range(1_000):
        file.add(1, 100, time=NOON + 3 + number)
    recording = read_fit(file.to_bytes())
    assert recording.start == EPOCH + timedelta(seconds=NOON + 3)
    assert list(recording.time) == list(range(1_000))


def test_a_record_without_time_takes_the_last_one() -> None:
    file = file_of((TIMESTAMP, HEART_RATE), (NOON, 100), (NOON + 7, 110))
    add_messages(file, 1, RECORD, (HEART_RATE,), (120,))
    file.add(0, None, 130)
    assert list(read_fit(file.to_bytes()).time) == [0, 7, 7, 7]


def test_records_without_any_time_are_kept() -> None:
    recording = read_fit(file_of((HEART_RATE,), (100,), (110,)).to_bytes())
    assert (recording.start, recording.record_count) == (None, 2)
    assert np.isnan(recording.time).all()


def test_times_that_stand_still_or_go_back_are_kept() -> None:
    moments = [NOON, NOON, NOON + 5, NOON + 3]
    assert list(read_fit(file_of((TIMESTAMP,), *((moment,) for moment in moments)).to_bytes()).time) == [0, 0, 5, 3]


def test_records_of_before_the_clock_knew_the_date_have_no_time() -> None:
    recording = read_fit(file_of((TIMESTAMP,), (100,), (101,), (NOON,), (NOON + 1,)).to_bytes())
    assert recording.start == EPOCH + timedelta(seconds=NOON)
    np.testing.assert_array_equal(recording.time, [np.nan, np.nan, 0, 1])
    assert recording.damage == (Damage.BAD_VALUE,)


def test_chained_files_are_one_recording() -> None:
    first = steady_file(20).to_bytes()
    second = file_of((TIMESTAMP, HEART_RATE), (NOON + 50, 99), is_big_endian=True).to_bytes()
    recording = read_fit(first + second + first, check=True)
    assert (recording.record_count, recording.damage) == (41, ())
    assert recording.time[20] == 50


def test_a_local_type_of_one_part_is_unknown_in_the_next() -> None:
    undefined = FitFile()
    undefined.define(3, RECORD, TIMESTAMP)
    undefined.add_raw(bytes(30))
    recording = read_fit(steady_file(20).to_bytes() + undefined.to_bytes())
    assert (recording.record_count, recording.damage) == (20, (Damage.UNDEFINED,))


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\r\n\r\n", b"\x40\0\0\x14\0\x01"])
def test_bytes_after_the_end_are_told(tail: bytes) -> None:
    recording = read_fit(steady_file(20).to_bytes() + tail, check=True)
    assert (recording.record_count, recording.damage) == (20, (Damage.EXTRA_BYTES,))


def test_a_part_after_other_bytes_is_found() -> None:
    content = steady_file(20).to_bytes()
    recording = read_fit(content + b"\0" * 7 + content)
    assert (recording.record_count, recording.damage) == (40, (Damage.EXTRA_BYTES,))


def test_a_cut_file_keeps_what_was_read() -> None:
    content = steady_file(500).to_bytes()
    whole = rates_of(content)
    for cut in range(100, 140):
        recording = read_fit(content[:-cut])
        assert recording.damage == (Damage.CUT,)
        assert recording.heartrate is not None
        assert list(recording.heartrate) == whole[: len(recording.heartrate)]
        assert recording.record_count >= 500 - cut // 9 - 1


def test_a_part_that_was_cut_is_followed_by_the_next() -> None:
    content = steady_file(100).to_bytes()
    recording = read_fit(content[:-301] + content)
    assert recording.damage == (Damage.CUT,)
    assert 165 <= recording.record_count <= 170


@pytest.mark.parametrize("is_checked", [False, True])
def test_a_missing_checksum_matters_only_if_it_is_asked_for(*, is_checked: bool) -> None:
    recording = read_fit(steady_file(50).to_bytes()[:-2], check=is_checked)
    assert recording.record_count == 50
    assert recording.damage == ((Damage.CHECKSUM,) if is_checked else ())


@pytest.mark.parametrize("size", [0, 100, 0xFFFF_FFFF])
def test_a_wrong_size_in_the_header_hides_no_record(size: int) -> None:
    content = bytearray(steady_file(50).to_bytes())
    content[4:8] = size.to_bytes(4, "little")
    recording = read_fit(bytes(content))
    assert (recording.record_count, recording.damage) == (50, (Damage.CUT,))


def test_a_wrong_checksum_of_the_header_is_told() -> None:
    content = bytearray(steady_file(50).to_bytes())
    content[12] ^= 1
    assert read_fit(bytes(content), check=True).damage == (Damage.CHECKSUM,)


def test_a_wrong_size_of_the_header_is_put_right() -> None:
    content = bytearray(steady_file(50).to_bytes())
    content[0] = 78
    assert read_fit(bytes(content)).record_count == 50


def test_an_undefined_local_type_ends_the_reading() -> None:
    file = steady_file(50)
    file.add_raw(b"\x05" + bytes(40))
    recording = read_fit(file.to_bytes())
    assert (recording.record_count, recording.damage) == (50, (Damage.UNDEFINED,))


def test_a_field_without_bytes_is_left_out() -> None:
    file = FitFile()
    file.define(0, RECORD, TIMESTAMP, HEART_RATE)
    file.add_raw(b"\x41\0\0\x14\0\x02\xfd\x04\x86\x03\x00\x02")
    file.add(0, NOON, 100)
    file.add_raw(b"\x01" + (NOON + 1).to_bytes(4, "little"))
    recording = read_fit(file.to_bytes())
    assert list(recording.time) == [0, 1]
    assert recording.heartrate is not None
    np.testing.assert_array_equal(recording.heartrate, [100, np.nan])
    assert recording.damage == (Damage.BAD_FIELD,)


def test_a_field_whose_size_does_not_fit_its_type_is_left_out() -> None:
    file = FitFile()
    file.add_raw(b"\x40\0\0\x14\0\x03\xfd\x04\x86\x05\x03\x86\x03\x01\x02")
    file.add_raw(b"\0" + NOON.to_bytes(4, "little") + b"\1\2\3" + b"\x64")
    recording = read_fit(file.to_bytes())
    assert (recording.distance, recording.damage) == (None, (Damage.BAD_FIELD,))
    assert recording.heartrate is not None
    assert list(recording.heartrate) == [100]


@pytest.mark.parametrize("base", [0x07, 0x1F, 0x91, 0xE3])
def test_a_field_of_a_type_that_holds_no_number_is_left_out(base: int) -> None:
    file = FitFile()
    file.add_raw(b"\x40\0\0\x14\0\x02\xfd\x04\x86\x05\x04" + bytes([base]))
    file.add_raw(b"\0" + NOON.to_bytes(4, "little") + b"\1\2\3\4")
    recording = read_fit(file.to_bytes())
    assert (list(recording.time), recording.distance, recording.damage) == ([0], None, (Damage.BAD_FIELD,))


def test_a_type_without_the_mark_of_its_order_is_known() -> None:
    file = FitFile()
    file.add_raw(b"\x40\0\0\x14\0\x02\xfd\x04\x06\x05\x04\x06")
    file.add_raw(b"\0" + NOON.to_bytes(4, "little") + b"\xe8\x03\0\0")
    recording = read_fit(file.to_bytes())
    assert recording.distance is not None
    assert list(recording.distance) == [10.0]


def test_unknown_messages_and_fields_are_passed_over() -> None:
    file = FitFile()
    file.define(0, RECORD, FitField(200, Base.STRING, 11), TIMESTAMP, FitField(201, Base.UINT64, 3))
    file.define(1, 65_280, FitField(3, Base.BYTE, 40))
    for number in range(30):
        file.add(0, "grüße", NOON + number, (1, 2, 3))
        file.add(1, b"\x40" * 40)
    recording = read_fit(file.to_bytes())
    assert list(recording.time) == list(range(30))
    assert (recording.channels, recording.damage) == ((), ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x0e", "not a FIT file"),
        (b"<gpx></gpx>", "not a FIT file"),
        (b"PK\3\4" * 100, "not a FIT file"),
        (FitFile().to_bytes(), "no records"),
        (file_of((FitField(0, Base.ENUM),), (4,), message=0).to_bytes(), "no records"),
    ],
)
def test_what_is_no_recording_is_refused_in_one_line(content: bytes, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words) as refused:
        read_fit(content)
    assert "\n" not in str(refused.value)


def test_more_records_than_allowed_are_refused() -> None:
    content = steady_file(101).to_bytes()
    assert read_fit(content, most_records=101).record_count == 101
    with pytest.raises(UnreadableFile, match="more than 100 records"):
        read_fit(content, most_records=100)


def test_endless_other_messages_are_refused() -> None:
    file = file_of((DISTANCE,), (1,))
    file.define(1, 300)
    file.define(2, 301)
    file.add_raw(b"\1\2" * 5_000)
    with pytest.raises(UnreadableFile, match="too many messages"):
        read_fit(file.to_bytes(), most_records=1_000)


def test_endless_definitions_are_refused() -> None:
    file = file_of((DISTANCE,), (1,))
    for number in range(10_001):
        file.define(1, 300, FitField(number % 256, Base.UINT8, 1 + number // 256))
    with pytest.raises(UnreadableFile, match="too many kinds"):
        read_fit(file.to_bytes())


def test_many_fields_of_few_records_do_not_make_a_column_of_all() -> None:
    file = FitFile()
    file.define(1, RECORD, *(FitField(number, Base.UINT8, 200) for number in range(114, 121)))
    file.add(1, *([1] * 200 for _ in range(7)))
    file.define(0, RECORD, HEART_RATE)
    file.add_raw(b"\0\x64" * 100_000)
    recording = read_fit(file.to_bytes())
    assert recording.record_count == 100_001
    assert Damage.BAD_FIELD in recording.damage
    assert sum(channel.values.nbytes for channel in recording.channels) < 40_000_000
    assert recording.heartrate is not None
    assert np.count_nonzero(recording.heartrate == 100) == 100_000


@pytest.mark.parametrize("moment", [-5.0, 1e15, 1e308, float("inf")])
def test_a_time_that_no_clock_shows_is_none(moment: float) -> None:
    fields = (FitField(253, Base.FLOAT64), FitField(69, Base.FLOAT64), FitField(8, Base.FLOAT64, 3))
    recording = read_fit(file_of(fields, (moment, moment, (moment,) * 3), (float(NOON), moment, None)).to_bytes())
    np.testing.assert_array_equal(recording.time, [np.nan, 0])
    assert recording.start == EPOCH + timedelta(seconds=NOON)


def test_memory_is_bounded_by_the_size_of_the_file() -> None:
    file = file_of((HEART_RATE,), (1,))
    for local in range(1, 16):
        file.define(local, RECORD, *(FitField(number, Base.UINT8, local) for number in range(9, 140)))
        file.add(local, *((1,) * local for _ in range(9, 140)))
    file.define(0, RECORD)
    file.add_raw(b"\0" * 100_000)
    content = file.to_bytes()
    tracemalloc.start()
    recording = read_fit(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert recording.record_count == 100_016
    assert peak < 16 * FEWEST_CELLS + 200 * len(content)
