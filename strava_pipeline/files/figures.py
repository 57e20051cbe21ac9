"""Figures of a file that no row of Strava's goes with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.recording import Recording
from strava_pipeline.files.shaping import shape


def activity_figures(recording: Recording) -> dict[str, Any]:
    """Return what the file tells by the names of Strava's columns; ``None`` for what it does not tell.

    ``start_date`` is UTC; ``elapsed_time`` s; ``moving_time`` s, by the device's timer, else all that elapsed;
    ``distance`` and ``total_elevation_gain`` m; ``utc_offset`` s.
    """
    shaped = shape(recording, start=None, elapsed_s=None, distance_m=None, activity_id=0, athlete_id=0)
    time, along = shaped.streams.time, shaped.streams.distance
    elapsed = float(time[-1]) if time and time[-1] else _total(recording, "elapsed_s")
    timer = _total(recording, "timer_s")
    told = _total(recording, "distance_m")
    # Strava believes the total of a FIT, and the points of others.
    distance = along[-1] if along and (told is None or recording.kind is not FileKind.FIT) else told
    return {
        "sport_type": recording.sport or next((each.sport for each in recording.sessions if each.sport), None),
        "name": recording.name,
        "start_date": shaped.start or _start(recording),
        "elapsed_time": None if elapsed is None else round(elapsed),
        "moving_time": _moving(timer, elapsed),
        "distance": None if distance is None else float(np.round(distance, 1)),
        "total_elevation_gain": _total(recording, "ascent_m"),
        "utc_offset": recording.local_offset_s,
    }


def _start(recording: Recording) -> datetime | None:
    return recording.start or next((each.start for each in recording.sessions if each.start), None)


def _moving(timer: float | None, elapsed: float | None) -> int | None:
    """Return whole s, cut, as Strava does with a timer; a timer that ran longer than the file is not believed."""
    if timer is None or (elapsed is not None and timer > elapsed):
        return None if elapsed is None else round(elapsed)
    return int(timer)


def _total(recording: Recording, figure: str) -> float | None:
    told = [getattr(session, figure) for session in recording.sessions]
    known = [value for value in told if value is not None]
    return sum(known) if known else None
