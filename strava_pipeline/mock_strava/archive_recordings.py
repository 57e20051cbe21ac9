"""The files of devices in a mock's archive: FIT of bike computers and watches, GPX of Strava's app."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from strava_pipeline.mock_strava.archive_activity import ToldActivity
from strava_pipeline.mock_strava.fit_recording import Recorder, fit_recording
from strava_pipeline.mock_strava.routes import Samples
from strava_pipeline.mock_strava.tracks import Flags, Track

Number = TypeVar("Number", np.float64, np.int64)

_QUICK: Final = 1
# What the athlete cut off: a walk to the start, and the way home in a car.
_WALK_S, _WALK_MPS = 180, 1.2
_DRIVE_S, _DRIVE_MPS = 420, 11.0
_DEGREES_PER_M: Final = 1 / 111_194.9
_GPX: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<gpx creator="StravaGPX Android" version="1.1" xmlns="http://www.topografix.com/GPX/1/1" \
xmlns:gpxtpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v1">
 <metadata><time>{start}</time></metadata>
 <trk><name>{name}</name><type>{kind}</type><trkseg>
{points}
 </trkseg></trk>
</gpx>
"""
_GPX_TYPES: Final = {"Ride": "cycling", "Run": "running", "TrailRun": "trail_running", "Swim": "swimming"}


class Way(StrEnum):
    """How the recording of an activity comes in the archive."""

    WHOLE = "whole"  # the device's FIT, gzipped
    UNCROPPED = "uncropped"  # a FIT that holds more than the athlete kept at Strava
    APP = "app"  # a GPX that Strava's app recorded, under the activity's id, not gzipped
    APP_UPLOAD = "app_upload"  # a GPX that was uploaded, gzipped
    FAILED = "failed"  # Strava could not write the file: `#error#`
    NONE = "none"  # typed in by hand


@dataclass(frozen=True, slots=True)
class ArchivedRecording:
    """``filename``: as the table names it, empty for none; ``data``: the member's bytes, ``None`` if there is none."""

    filename: str
    data: bytes | None


def archived_recording(activity: ToldActivity, way: Way) -> ArchivedRecording:
    """Return the recording of an activity as the archive holds it."""
    track = activity.track
    if way is Way.FAILED:
        return ArchivedRecording("#error#", None)
    if way is Way.NONE or track is None:
        return ArchivedRecording("", None)
    upload = activity.body["upload_id"] or activity.id
    if way is Way.APP:
        return ArchivedRecording(f"activities/{activity.id}.gpx", _gpx(activity, track))
    if way is Way.APP_UPLOAD:
        return ArchivedRecording(f"activities/{upload}.gpx.gz", _packed(_gpx(activity, track)))
    start = activity.recorded_at
    if way is Way.UNCROPPED:
        track, start = _uncropped(track), start - timedelta(seconds=_WALK_S)
    recorder = Recorder(local_offset_s=int(activity.body["utc_offset"]), has_barometer=track.altitude is not None)
    content = fit_recording(track, start, activity.recorded_sport, recorder)
    return ArchivedRecording(f"activities/{upload}.fit.gz", _packed(content))


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, _QUICK, mtime=0)


def _uncropped(track: Track) -> Track:
    """Return a track with a walk in front and a drive behind, which the device recorded as well."""
    before, after = np.arange(_WALK_S), np.arange(1, _DRIVE_S + 1)
    walked, driven = before * _WALK_MPS, after * _DRIVE_MPS
    walk_m, metres = _WALK_S * _WALK_MPS, float(track.distance[-1])

    def moved(latitude: Samples | None) -> Samples | None:
        if latitude is None:
            return None
        south = latitude[0] - (walk_m - walked) * _DEGREES_PER_M
        return np.concatenate([south, latitude, latitude[-1] + driven * _DEGREES_PER_M])

    return replace(
        track,
        time=np.concatenate([before, track.time + _WALK_S, track.time[-1] + _WALK_S + after]),
        distance=np.concatenate([walked, track.distance + walk_m, metres + walk_m + driven]),
        velocity=np.concatenate([np.full(_WALK_S, _WALK_MPS), track.velocity, np.full(_DRIVE_S, _DRIVE_MPS)]),
        moving=_all_moving(track),
        latitude=moved(track.latitude),
        longitude=_held(track.longitude),
        altitude=_held(track.altitude),
        heartrate=_held(track.heartrate),
        cadence=_held(track.cadence),
        watts=_held(track.watts),
        temp=_held(track.temp),
    )


def _held(values: NDArray[Number] | None) -> NDArray[Number] | None:
    """Return samples with the first one repeated before them, and the last one after."""
    if values is None:
        return None
    return np.concatenate([np.repeat(values[:1], _WALK_S), values, np.repeat(values[-1:], _DRIVE_S)])


def _all_moving(track: Track) -> Flags:
    return np.concatenate([np.ones(_WALK_S, bool), track.moving, np.ones(_DRIVE_S, bool)])


def _gpx(activity: ToldActivity, track: Track) -> bytes:
    seconds = np.datetime64(activity.recorded_at.replace(tzinfo=None), "s") + track.time
    times = np.datetime_as_string(seconds).tolist()
    blank = [""] * len(times)
    altitude = blank if track.altitude is None else [f"<ele>{value}</ele>" for value in track.altitude.tolist()]
    sensors = [
        [f"<gpxtpx:{tag}>{value}</gpxtpx:{tag}>" for value in values.tolist()]
        for tag, values in (("atemp", track.temp), ("hr", track.heartrate), ("cad", track.cadence))
        if values is not None
    ]
    told = ["".join(each) for each in zip(*sensors, strict=True)] if sensors else blank
    if track.latitude is None or track.longitude is None:
        raise ValueError(f"activity {activity.id} has no positions for a GPX")
    points = "\n".join(
        f'<trkpt lat="{latitude}" lon="{longitude}">{height}<time>{time}Z</time>'
        f"<extensions><gpxtpx:TrackPointExtension>{sensor}</gpxtpx:TrackPointExtension></extensions></trkpt>"
        for latitude, longitude, height, time, sensor in zip(
            track.latitude.tolist(), track.longitude.tolist(), altitude, times, told, strict=True
        )
    )
    kind = _GPX_TYPES.get(activity.recorded_sport, "")
    name = escape(activity.body["name"])
    return _GPX.format(start=f"{times[0]}Z", name=name, kind=kind, points=points).encode()
