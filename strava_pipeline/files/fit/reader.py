"""Reads a FIT file into a recording."""

from __future__ import annotations

from typing import Final

import numpy as np

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.fit.clock import FIRST_DATE_S, date_of, times_of
from strava_pipeline.files.fit.devices import read_device
from strava_pipeline.files.fit.messages import read_messages
from strava_pipeline.files.fit.records import read_records
from strava_pipeline.files.fit.summaries import (
    read_laps,
    read_lengths,
    read_local_offset,
    read_pauses,
    read_sessions,
    read_sport,
)
from strava_pipeline.files.recording import Damage, Recording, Samples

MOST_RECORDS: Final = 2_000_000


def read_fit(data: bytes, *, check: bool = False, most_records: int = MOST_RECORDS) -> Recording:
    """Read all records of a FIT file, of each part if several are written one after the other.

    Whatever is readable is read, and ``damage`` tells what is wrong with the rest. ``check``: whether checksums are
    verified. Raises :class:`UnreadableFile` if the file is empty, no FIT file, without records, or with more than
    ``most_records``.
    """
    messages = read_messages(data, check=check, most_records=most_records)
    records = read_records(messages)
    if not len(records.columns.offsets):
        raise UnreadableFile("the FIT file holds no records: nothing was recorded, or it was cut before them")
    damage = messages.damage | records.damage
    clock = times_of(messages, records.columns)
    start, is_consistent = _start(clock)
    time = clock - start
    if not is_consistent:
        # Records of before the device knew the date.
        time[clock < FIRST_DATE_S] = np.nan
        damage |= {Damage.BAD_VALUE}
    sessions = read_sessions(messages)
    return Recording(
        kind=FileKind.FIT,
        start=date_of(start),
        time=time,
        latitude=records.latitude,
        longitude=records.longitude,
        altitude=records.altitude,
        distance=records.distance,
        speed=records.speed,
        heartrate=records.heartrate,
        cadence=records.cadence,
        watts=records.watts,
        temp=records.temp,
        channels=records.channels,
        sessions=sessions,
        laps=read_laps(messages, start),
        lengths=read_lengths(messages, start),
        pauses=read_pauses(messages, start),
        device=read_device(messages),
        local_offset_s=read_local_offset(messages),
        sport=read_sport(messages, sessions),
        damage=tuple(sorted(damage)),
    )


def _start(clock: Samples) -> tuple[float, bool]:
    """Return the first time, NaN if there is none, and whether all times are of the same clock as it."""
    known = clock[~np.isnan(clock)]
    if not len(known):
        return np.nan, True
    dates = known >= FIRST_DATE_S
    if dates.any() and not dates.all():
        return float(known[dates.argmax()]), False
    return float(known[0]), True
