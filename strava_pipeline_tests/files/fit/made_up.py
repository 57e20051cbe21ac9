"""Small made-up FIT files for tests of single rules."""

from __future__ import annotations

from strava_pipeline.mock_strava.fit_file import Base, FitField, FitFile, Value

FILE_ID, SPORT, SESSION, LAP, RECORD, EVENT, DEVICE_INFO, ACTIVITY, LENGTH = 0, 12, 18, 19, 20, 21, 23, 34, 101
DESCRIPTION, DEVELOPER_ID = 206, 207
TIMESTAMP = FitField(253, Base.UINT32)
LATITUDE, LONGITUDE = FitField(0, Base.SINT32), FitField(1, Base.SINT32)
ALTITUDE, HEART_RATE, CADENCE = FitField(2, Base.UINT16), FitField(3, Base.UINT8), FitField(4, Base.UINT8)
DISTANCE, SPEED, POWER = FitField(5, Base.UINT32), FitField(6, Base.UINT16), FitField(7, Base.UINT16)
NOON = 1_000_000_000


def file_of(
    fields: tuple[FitField, ...], *rows: tuple[Value, ...], message: int = RECORD, is_big_endian: bool = False
) -> FitFile:
    """Return a file with messages of one kind, to which others can be added."""
    file = FitFile(is_big_endian=is_big_endian)
    add_messages(file, 0, message, fields, *rows)
    return file


def add_messages(
    file: FitFile, local: int, message: int, fields: tuple[FitField, ...], *rows: tuple[Value, ...]
) -> None:
    """Define a kind of message, and write these."""
    file.define(local, message, *fields)
    for row in rows:
        file.add(local, *row)


def steady_file(count: int, *, is_big_endian: bool = False) -> FitFile:
    """Return a file with a record each second, whose heart rates go up by one from 60 to 180 and start again."""
    rows = ((NOON + number, 60 + number % 121, 300 * number) for number in range(count))
    return file_of((TIMESTAMP, HEART_RATE, DISTANCE), *rows, is_big_endian=is_big_endian)
