"""Builds a GPX 1.1 file from an activity's detail and streams, since Strava's API has no endpoint for GPX.

Heart rate, cadence and temperature are written as Garmin's TrackPointExtension v1, power as Garmin's PowerExtension v1:
GPX's schema demands that the extensions of a point are in a namespace other than its own.
Source: https://www.topografix.com/GPX/1/1/, https://www8.garmin.com/xmlschemas/TrackPointExtensionv1.xsd
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from gpxpy.gpx import GPX, GPXTrack, GPXTrackPoint, GPXTrackSegment

from strava_pipeline.errors import NotFound
from strava_pipeline.printable import printable_xml
from strava_pipeline.strava.mapping.activity import activity_id
from strava_pipeline.strava.mapping.fields import JsonObject, instant, pick, text
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.streams import Streams

CREATOR = "strava-pipeline"
ACTIVITY_PAGE = "https://www.strava.com/activities"
TRACK_POINT = "http://www.garmin.com/xmlschemas/TrackPointExtension/v1"
POWER = "http://www.garmin.com/xmlschemas/PowerExtension/v1"
SCHEMAS = {
    "http://www.topografix.com/GPX/1/1": "http://www.topografix.com/GPX/1/1/gpx.xsd",
    TRACK_POINT: "http://www.garmin.com/xmlschemas/TrackPointExtensionv1.xsd",
    POWER: "http://www.garmin.com/xmlschemas/PowerExtensionv1.xsd",
}
POLE_DEGREES = 90.0
HALF_TURN_DEGREES = 180.0
# The values that the extensions' schemas allow. Others are a sensor's error, and are left out.
HEART_RATES_BPM = range(1, 256)
CADENCES_RPM = range(255)
POWERS_W = range(65_536)
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Sample:
    """One sample of an activity; ``None`` for a value that was not recorded.

    Units: elapsed s, degrees, elevation m, heart rate beats per minute, cadence turns per minute, °C, W.
    """

    elapsed: int | None
    latitude: float | None
    longitude: float | None
    elevation: float | None
    heart_rate: float | None
    cadence: float | None
    temperature: float | None
    power: float | None

    @property
    def has_position(self) -> bool:
        """Whether the sample has a valid latitude and longitude."""
        return (
            self.latitude is not None
            and self.longitude is not None
            and abs(self.latitude) <= POLE_DEGREES
            and abs(self.longitude) <= HALF_TURN_DEGREES
        )


@dataclass(frozen=True)
class Titles:
    """What a GPX file says of the activity as a whole; ``start_date`` in UTC."""

    id: int
    name: str | None
    description: str | None
    sport_type: str | None
    type: str | None
    start_date: datetime | None


def export_gpx(activity: JsonObject, streams: Any) -> str:
    """Return the GPX of an activity; ``activity`` and ``streams`` are Strava's answers.

    Errors as in :func:`build_gpx`, and ``RejectedRequest`` for an answer that holds a value of a wrong type.
    """
    number = activity_id(activity)
    titles = Titles(id=number, **pick(activity, _TOLD, f"activity {number}"))
    # The file does not contain the athlete's id, so 0 stands for it.
    return build_gpx(titles, map_streams(0, number, streams))


def build_gpx(titles: Titles, streams: Streams) -> str:
    """Return the GPX of an activity. After a gap in the positions a new segment begins, as GPX demands.

    ``NotFound`` without any position.
    """
    samples = list(_samples(streams))
    if not any(sample.has_position for sample in samples):
        raise NotFound(f"activity {titles.id} has no GPS positions: there is nothing to export")
    document = GPX()
    document.creator = CREATOR
    document.time = titles.start_date
    document.nsmap = {"gpxtpx": TRACK_POINT, "pwr": POWER}
    document.schema_locations = [part for pair in SCHEMAS.items() for part in pair]
    document.tracks.append(_track(titles, samples))
    return printable_xml(f"{document.to_xml(version='1.1')}\n")


def _track(titles: Titles, samples: list[Sample]) -> GPXTrack:
    track = GPXTrack(name=_for_xml(titles.name), description=_for_xml(titles.description))
    track.type = _for_xml(titles.sport_type or titles.type)  # type: ignore[assignment]  # gpxpy's annotation lacks text
    if titles.id > 0:  # one that came as a file has no page at Strava
        track.link = f"{ACTIVITY_PAGE}/{titles.id}"
    within = False
    for sample in samples:
        if sample.has_position and not within:
            track.segments.append(GPXTrackSegment())
        within = sample.has_position
        if within:
            track.segments[-1].points.append(_point(sample, titles.start_date))
    return track


def _point(sample: Sample, start: datetime | None) -> GPXTrackPoint:
    # GPX's schema allows -180 degrees but not 180, which is the same meridian.
    longitude = -HALF_TURN_DEGREES if sample.longitude == HALF_TURN_DEGREES else sample.longitude
    time = None if start is None or sample.elapsed is None else start + timedelta(seconds=sample.elapsed)
    point = GPXTrackPoint(latitude=sample.latitude, longitude=longitude, elevation=sample.elevation, time=time)
    point.extensions = list(_extensions(sample))
    return point


def _extensions(sample: Sample) -> Iterator[Element]:
    # The schema prescribes this order.
    measured = {
        "atemp": None if sample.temperature is None else f"{sample.temperature:g}",
        "hr": _within(HEART_RATES_BPM, sample.heart_rate),
        "cad": _within(CADENCES_RPM, sample.cadence),
    }
    if any(measured.values()):
        element = Element(f"{{{TRACK_POINT}}}TrackPointExtension")
        for name, value in measured.items():
            if value:
                SubElement(element, f"{{{TRACK_POINT}}}{name}").text = value
        yield element
    power = _within(POWERS_W, sample.power)
    if power:
        element = Element(f"{{{POWER}}}PowerInWatts")
        element.text = power
        yield element


def _within(allowed: range, value: float | None) -> str | None:
    return None if value is None or round(value) not in allowed else str(round(value))


def _samples(streams: Streams) -> Iterator[Sample]:
    """The samples of all streams; a shorter stream is filled up with ``None``."""
    series = [getattr(streams, name) or [] for name in _SERIES]
    return (Sample(*values) for values in zip_longest(*series))


def _for_xml(value: str | None) -> str | None:
    """The text without characters that XML cannot hold; ``None`` if nothing is left."""
    return _NOT_XML.sub("", value or "") or None


# In the order of the fields of ``Sample``.
_SERIES = ("time", "latitude", "longitude", "altitude", "heartrate", "cadence", "temp", "watts")
_TOLD: dict[str, Callable[[Any], Any]] = {
    "name": text,
    "description": text,
    "sport_type": text,
    "type": text,
    "start_date": instant,
}
