"""Reads TCX: activities of laps, laps of tracks, tracks of points.

Sources: https://www8.garmin.com/xmlschemas/TrainingCenterDatabasev2.xsd and ActivityExtensionv2.xsd beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest

import numpy as np

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.gpx import device_of, one_line
from strava_pipeline.files.points import POSSIBLE, Points
from strava_pipeline.files.recording import Pause, RecordedLap, Recording, Session
from strava_pipeline.files.xml_source import read_xml
from strava_pipeline.files.xml_sports import sport_of

# What a lap tells, by the element, or the element around a Value.
_OF_LAP = {
    "TotalTimeSeconds": "timer",
    "DistanceMeters": "distance",
    "MaximumSpeed": "max_speed",
    "AverageHeartRateBpm": "average_heartrate",
    "MaximumHeartRateBpm": "max_heartrate",
    "Cadence": "cadence",
    "AvgSpeed": "average_speed",
    "AvgRunCadence": "run_cadence",
    "AvgWatts": "average_power",
}
# Strava's own files tell a highest speed of 16,200 m/s, which is no damage.
_POSSIBLE_OF_LAP = {
    "timer": (0, 100_000_000),
    "distance": POSSIBLE["distance"],
    "max_speed": POSSIBLE["speed"],
    "average_speed": POSSIBLE["speed"],
    "average_heartrate": POSSIBLE["heartrate"],
    "max_heartrate": POSSIBLE["heartrate"],
    "cadence": POSSIBLE["cadence"],
    "run_cadence": POSSIBLE["cadence"],
    "average_power": POSSIBLE["watts"],
}
_OF_POINT = {
    "LatitudeDegrees": "latitude",
    "LongitudeDegrees": "longitude",
    "AltitudeMeters": "altitude",
    "DistanceMeters": "distance",
    "HeartRateBpm": "heartrate",
    "Cadence": "cadence",
    "RunCadence": "cadence",
    "Speed": "speed",
    "Watts": "watts",
}
# A device that was stopped and went on begins another track; what is no longer than a step of a second was no pause.
_STEP_S = 1.0


def read_tcx(data: bytes, *, most_records: int = 2_000_000) -> Recording:
    """Return the points of all activities, one after the other as they stand in the file.

    Each ``Activity``, those of a multisport session too, is a session; each further ``Track`` of a lap begins after
    a pause. Courses are plans: they give no points. ``UnreadableFile``: no TCX, or more points than ``most_records``.
    """
    reader = _TcxReader(Points(most_records))
    damage = read_xml(data, reader, FileKind.TCX)
    recording = reader.points.fill(
        Recording(
            kind=FileKind.TCX,
            start=None,
            time=np.empty(0),
            device=device_of(reader.creator, one_line(reader.product or "")),
            sport=reader.activities[0].sport if reader.activities else None,
            name=reader.name or reader.notes,
            damage=damage,
        )
    )
    return _with_sessions(recording, reader.activities, reader.pauses)


@dataclass
class _Lap:
    """Moments are s since 1970."""

    start: float
    last: float = math.nan
    told: dict[str, float] = field(default_factory=dict)
    track_count: int = 0


@dataclass
class _Activity:
    sport: str | None
    laps: list[_Lap] = field(default_factory=list)


class _TcxReader:
    def __init__(self, points: Points) -> None:
        self.points = points
        self.activities: list[_Activity] = []
        self.pauses: list[tuple[float, float]] = []
        self.creator: str | None = None
        self.product: str | None = None
        self.name: str | None = None
        self.notes: str | None = None
        self._open: list[str] = []
        self._values: dict[str, float] | None = None
        self._channels: dict[str, float] = {}
        self._paused_at = math.nan

    @property
    def _lap(self) -> _Lap | None:
        return self.activities[-1].laps[-1] if self.activities and self.activities[-1].laps else None

    def opened(self, name: str, attributes: Mapping[str, str]) -> None:
        is_recorded = "Courses" not in self._open
        if name == "Trackpoint" and is_recorded:
            self._values, self._channels = {}, {}
        elif name == "Activity":
            self.activities.append(_Activity(sport_of(attributes.get("Sport", ""))))
        elif name == "Lap" and self.activities and is_recorded:
            self.activities[-1].laps.append(_Lap(self.points.seconds(attributes.get("StartTime", "").strip())))
        elif name == "Track" and is_recorded and self._lap is not None:
            self._lap.track_count += 1
            self._paused_at = self._lap.last if self._lap.track_count > 1 else math.nan
        self._open.append(name)

    def closed(self, name: str, text: str) -> None:
        self._open.pop()
        if self._values is not None:
            if name == "Trackpoint":
                self._end_point(self._values)
                self._values = None
            elif text:
                self._tell(name, text, self._values)
        elif text and self._open:
            self._describe(name, text)

    def _end_point(self, values: dict[str, float]) -> None:
        self.points.add(values, self._channels)
        at, lap = values.get("time", math.nan), self._lap
        if lap is None or math.isnan(at):
            return
        if at - self._paused_at > _STEP_S:
            self.pauses.append((self._paused_at, at))
        self._paused_at = math.nan
        lap.last = at
        if math.isnan(lap.start):
            lap.start = at

    def _tell(self, name: str, text: str, values: dict[str, float]) -> None:
        """Take what an element within a point tells."""
        if name == "Time" and self._open[-1] == "Trackpoint":
            values.setdefault("time", self.points.seconds(text))
            return
        series = _OF_POINT.get(self._open[-1] if name == "Value" else name)
        if series is not None:
            values.setdefault(series, self.points.number(text))
        elif "Extensions" in self._open:
            self.points.tell_channel(self._channels, name, text)

    def _figure(self, told: str, text: str) -> float:
        value = self.points.number(text)
        least, most = _POSSIBLE_OF_LAP[told]
        if least <= value <= most:
            return value
        self.points.is_bad |= told != "max_speed" and not math.isnan(value)
        return math.nan

    def _describe(self, name: str, text: str) -> None:
        """Take what a lap, an activity or a device says of itself."""
        within = self._open[-1]
        lap = self._lap
        if "Lap" in self._open:
            told = _OF_LAP.get(within if name == "Value" else name)
            if told is not None and lap is not None and "Courses" not in self._open:
                lap.told.setdefault(told, self._figure(told, text))
        elif within == "Creator" and name == "Name":
            self.creator = self.creator or text
        elif within == "Creator" and name == "ProductID":
            self.product = self.product or text
        elif within == "Activity" and name == "Name":
            self.name = self.name or one_line(text)
        elif within == "Activity" and name == "Notes":
            self.notes = self.notes or one_line(text.splitlines()[0])


def _with_sessions(recording: Recording, activities: list[_Activity], pauses: list[tuple[float, float]]) -> Recording:
    began = [lap.start for activity in activities for lap in activity.laps if not math.isnan(lap.start)]
    if recording.start is None and began:
        recording = replace(recording, start=datetime.fromtimestamp(math.floor(min(began)), UTC))
    start = recording.start.timestamp() if recording.start else math.nan
    laps: list[RecordedLap] = []
    sessions = []
    for activity in activities:
        elapsed = [_elapsed(lap, after) for lap, after in zip_longest(activity.laps, activity.laps[1:])]
        laps += [_recorded(lap, seconds, start) for lap, seconds in zip(activity.laps, elapsed, strict=True)]
        sessions.append(_session(activity, elapsed))
    return replace(
        recording,
        sessions=tuple(sessions),
        laps=tuple(laps),
        pauses=tuple(Pause(start_s=begin - start, end_s=end - start) for begin, end in pauses),
    )


def _elapsed(lap: _Lap, after: _Lap | None) -> float | None:
    """Return how long a lap took: to the begin of the next one, or else to its last point."""
    end = lap.last if after is None or math.isnan(after.start) else after.start
    told = lap.told.get("timer", math.nan)
    return _known(np.fmax(told, end - lap.start))


def _session(activity: _Activity, elapsed: list[float | None]) -> Session:
    begins = [lap.start for lap in activity.laps if not math.isnan(lap.start)]
    return Session(
        start=datetime.fromtimestamp(begins[0], UTC) if begins else None,
        sport=activity.sport,
        elapsed_s=_sum(elapsed),
        timer_s=_sum([_known(lap.told.get("timer")) for lap in activity.laps]),
        distance_m=_sum([_known(lap.told.get("distance")) for lap in activity.laps]),
    )


def _recorded(lap: _Lap, elapsed: float | None, start: float) -> RecordedLap:
    told = {name: _known(value) for name, value in lap.told.items()}
    return RecordedLap(
        start_s=_known(lap.start - start),
        elapsed_s=elapsed,
        timer_s=told.get("timer"),
        distance_m=told.get("distance"),
        average_speed_mps=told.get("average_speed"),
        max_speed_mps=told.get("max_speed"),
        average_heartrate_bpm=told.get("average_heartrate"),
        max_heartrate_bpm=told.get("max_heartrate"),
        average_cadence_rpm=told.get("run_cadence") or told.get("cadence"),
        average_power_w=told.get("average_power"),
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
