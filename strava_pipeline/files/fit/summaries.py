"""Sessions, laps, pool lengths and pauses from the messages of a FIT file."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.fit.clock import date_of, is_date, times_of
from strava_pipeline.files.fit.columns import Row, columns_of
from strava_pipeline.files.fit.messages import Messages
from strava_pipeline.files.fit.profile import (
    ACTIVITY,
    CENTI,
    EVENT,
    FRACTION_SCALE,
    LAP,
    LENGTH,
    MILLI,
    SESSION,
    SPORT,
    TIMESTAMP,
    ActivityField,
    EventField,
    LapField,
    LengthField,
    SessionField,
    SportField,
)
from strava_pipeline.files.fit.sports import sport_type
from strava_pipeline.files.recording import Pause, PoolLength, RecordedLap, Session

# A triathlon of sixteen hours has some hundreds.
MOST_SUMMARIES: Final = 100_000
FURTHEST_OFFSET: Final = timedelta(hours=15)
_TIMER_EVENT: Final = 0
_TIMER_START: Final = 0
_TIMER_STOPS: Final = frozenset({1, 4, 8, 9})  # stop, stop all, stop and disable, stop and disable all
_IDLE_LENGTH: Final = 0
_SESSION_NUMBERS: Final = (
    SessionField.START, SessionField.SPORT, SessionField.SUB_SPORT, SessionField.ELAPSED, SessionField.TIMER,
    SessionField.DISTANCE, SessionField.ASCENT, SessionField.DESCENT, SessionField.AVERAGE_TEMPERATURE,
    SessionField.POOL_LENGTH,
)  # fmt: skip
_LAP_NUMBERS: Final = (
    LapField.START, LapField.ELAPSED, LapField.TIMER, LapField.DISTANCE, LapField.ASCENT, LapField.AVERAGE_SPEED,
    LapField.MAX_SPEED, LapField.ENHANCED_AVERAGE_SPEED, LapField.ENHANCED_MAX_SPEED, LapField.AVERAGE_HEART_RATE,
    LapField.MAX_HEART_RATE, LapField.AVERAGE_CADENCE, LapField.AVERAGE_FRACTIONAL_CADENCE, LapField.AVERAGE_POWER,
)  # fmt: skip
_LENGTH_NUMBERS: Final = (LengthField.START, LengthField.ELAPSED, LengthField.STROKES, LengthField.KIND)


def read_sessions(messages: Messages) -> tuple[Session, ...]:
    """Read the sessions; several sports are several sessions."""
    return tuple(
        Session(
            start=date_of(row[SessionField.START]),
            sport=sport_type(row[SessionField.SPORT], row[SessionField.SUB_SPORT]),
            elapsed_s=_scaled(row[SessionField.ELAPSED], MILLI),
            timer_s=_scaled(row[SessionField.TIMER], MILLI),
            distance_m=_scaled(row[SessionField.DISTANCE], CENTI),
            ascent_m=row[SessionField.ASCENT],
            descent_m=row[SessionField.DESCENT],
            average_temperature_c=row[SessionField.AVERAGE_TEMPERATURE],
            pool_length_m=_scaled(row[SessionField.POOL_LENGTH], CENTI),
        )
        for row in _rows(messages, SESSION, _SESSION_NUMBERS)
    )


def read_laps(messages: Messages, start: float) -> tuple[RecordedLap, ...]:
    """Read the laps. ``start``: the recording's start, in seconds of the device's clock."""
    return tuple(
        RecordedLap(
            start_s=_since(row[LapField.START], start),
            elapsed_s=_scaled(row[LapField.ELAPSED], MILLI),
            timer_s=_scaled(row[LapField.TIMER], MILLI),
            distance_m=_scaled(row[LapField.DISTANCE], CENTI),
            ascent_m=row[LapField.ASCENT],
            average_speed_mps=_scaled(_told(row, LapField.ENHANCED_AVERAGE_SPEED, LapField.AVERAGE_SPEED), MILLI),
            max_speed_mps=_scaled(_told(row, LapField.ENHANCED_MAX_SPEED, LapField.MAX_SPEED), MILLI),
            average_heartrate_bpm=row[LapField.AVERAGE_HEART_RATE],
            max_heartrate_bpm=row[LapField.MAX_HEART_RATE],
            average_cadence_rpm=_with_fraction(row[LapField.AVERAGE_CADENCE], row[LapField.AVERAGE_FRACTIONAL_CADENCE]),
            average_power_w=row[LapField.AVERAGE_POWER],
        )
        for row in _rows(messages, LAP, _LAP_NUMBERS)
    )


def read_lengths(messages: Messages, start: float) -> tuple[PoolLength, ...]:
    """Read the pool lengths. ``start``: the recording's start, in seconds of the device's clock."""
    return tuple(
        PoolLength(
            start_s=_since(row[LengthField.START], start),
            elapsed_s=_scaled(row[LengthField.ELAPSED], MILLI),
            strokes=None if (strokes := row[LengthField.STROKES]) is None else int(strokes),
            is_active=row[LengthField.KIND] != _IDLE_LENGTH,
        )
        for row in _rows(messages, LENGTH, _LENGTH_NUMBERS)
    )


def read_pauses(messages: Messages, start: float) -> tuple[Pause, ...]:
    """Read when the timer stood still between two starts. ``start``: as above."""
    columns = columns_of(messages.data, messages.of(EVENT), {TIMESTAMP, EventField.EVENT, EventField.KIND})
    times = times_of(messages, columns)
    pauses: list[Pause] = []
    stopped: float | None = None
    events = zip(
        times.tolist(), columns.first(EventField.EVENT).tolist(), columns.first(EventField.KIND).tolist(), strict=True
    )
    for time, event, kind in events:
        moment = _since(time, start)
        if event != _TIMER_EVENT or moment is None:
            continue
        if kind in _TIMER_STOPS:
            stopped = moment if stopped is None else stopped
        elif kind == _TIMER_START:
            if stopped is not None and moment > stopped:
                pauses.append(Pause(start_s=stopped, end_s=moment))
            stopped = None
    _refuse_too_many(len(pauses))
    return tuple(pauses)


def read_sport(messages: Messages, sessions: tuple[Session, ...]) -> str | None:
    """Return the sport of the whole file: of its sessions, or else of its laps, if that is one only."""
    if sessions:
        return _only({session.sport for session in sessions})
    for message, sport, sub_sport in (
        (SPORT, SportField.SPORT, SportField.SUB_SPORT),
        (LAP, LapField.SPORT, LapField.SUB_SPORT),
    ):
        rows = _rows(messages, message, (sport, sub_sport))
        if found := _only({sport_type(row[sport], row[sub_sport]) for row in rows}):
            return found
    return None


def read_local_offset(messages: Messages) -> int | None:
    """Return the seconds by which the device's clock was ahead of UTC, as the last activity tells them."""
    for row in reversed(_rows(messages, ACTIVITY, (TIMESTAMP, ActivityField.LOCAL_TIMESTAMP))):
        utc, local = row[TIMESTAMP], row[ActivityField.LOCAL_TIMESTAMP]
        if utc is not None and local is not None and abs(local - utc) <= FURTHEST_OFFSET.total_seconds():
            return int(local - utc)
    return None


def _rows(messages: Messages, message: int, numbers: tuple[int, ...]) -> list[Row]:
    """Return these fields of all messages of a kind, without messages that have none of them."""
    if not (blocks := messages.of(message)):
        return []
    _refuse_too_many(sum(len(block.offsets) for block in blocks))
    rows = columns_of(messages.data, blocks, numbers).rows(numbers)
    return [row for row in rows if any(value is not None for value in row.values())]


def _refuse_too_many(count: int) -> None:
    if count > MOST_SUMMARIES:
        raise UnreadableFile(f"the FIT file holds more than {MOST_SUMMARIES:,} laps: it was not made by a device")


def _told(row: Row, number: int, other: int) -> float | None:
    value = row[number]
    return row[other] if value is None else value


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _with_fraction(value: float | None, fraction: float | None) -> float | None:
    return None if value is None else value + (fraction or 0.0) / FRACTION_SCALE


def _since(moment: float | None, start: float) -> float | None:
    """Return the seconds since ``start``; ``None`` if the two are of different clocks, or one is missing (NaN)."""
    if moment is None or math.isnan(moment) or math.isnan(start) or is_date(moment) != is_date(start):
        return None
    return moment - start


def _only(sports: set[str | None]) -> str | None:
    return sports.pop() if len(sports) == 1 else None
