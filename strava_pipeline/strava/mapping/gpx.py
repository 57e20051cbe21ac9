"""Builds a GPX 1.1 file from an activity's detail and streams, since Strava's API has no endpoint for GPX.

Heart rate, cadence and temperature are written as Garmin's TrackPointExtension v1, power as Garmin's PowerExtension v1:
GPX's schema demands that the extensions of a point are in a namespace other than its own.
Source: https://www.topografix.com/GPX/1/1/, https://www8.garmin.com/xmlschemas/TrackPointExtensionv1.xsd
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, NamedTuple

from gpxpy.gpx import GPX, GPXTrack

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
_TRACK_END = "  </trk>"
_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Sample(NamedTuple):
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
    segments = "".join(_segments(streams, titles.start_date))
    if not segments:
        raise NotFound(f"activity {titles.id} has no GPS positions: there is nothing to export")
    document = GPX()
    document.creator = CREATOR
    document.time = titles.start_date
    document.nsmap = {"gpxtpx": TRACK_POINT, "pwr": POWER}
    document.schema_locations = [part for pair in SCHEMAS.items() for part in pair]
    document.tracks.append(_track(titles))
    before, end, after = printable_xml(f"{document.to_xml(version='1.1')}\n").rpartition(_TRACK_END)
    return f"{before}{segments}{end}{after}"


def _track(titles: Titles) -> GPXTrack:
    track = GPXTrack(name=_for_xml(titles.name), description=_for_xml(titles.description))
    track.type = _for_xml(titles.sport_type or titles.type)  # type: ignore[assignment]  # gpxpy's annotation lacks text
    if titles.id > 0:  # one that came as a file has no page at Strava
        track.link = f"{ACTIVITY_PAGE}/{titles.id}"
    return track


def _segments(streams: Streams, start: datetime | None) -> Iterator[str]:
    """The segments as text: as objects, a hundred thousand samples would fill hundreds of MB."""
    within = False
    for sample in _samples(streams):
        if sample.has_position != within:
            yield "    </trkseg>\n" if within else "    <trkseg>\n"
            within = not within
        if within:
            yield _point(sample, start)
    if within:
        yield "    </trkseg>\n"


def _point(sample: Sample, start: datetime | None) -> str:
    # GPX's schema allows -180 degrees but not 180, which is the same meridian.
    longitude = -HALF_TURN_DEGREES if sample.longitude == HALF_TURN_DEGREES else sample.longitude
    elevation = "" if sample.elevation is None else f"<ele>{_decimal(sample.elevation)}</ele>"
    time = "" if start is None or sample.elapsed is None else f"<time>{_time(start, sample.elapsed)}</time>"
    extensions = _extensions(sample)
    if extensions:
        extensions = f"<extensions>{extensions}</extensions>"
    where = f'lat="{_decimal(sample.latitude)}" lon="{_decimal(longitude)}"'
    return f"      <trkpt {where}>{elevation}{time}{extensions}</trkpt>\n"


def _decimal(value: float | None) -> str:
    """A number without an exponent, as GPX's schema has it."""
    text = str(value)
    return f"{value:.10f}" if "e" in text else text


def _time(start: datetime, elapsed: int) -> str:
    return (start + timedelta(seconds=elapsed)).astimezone(UTC).isoformat().replace("+00:00", "Z")


def _extensions(sample: Sample) -> str:
    # The schema prescribes this order.
    measured = {
        "atemp": None if sample.temperature is None else f"{sample.temperature:g}",
        "hr": _within(HEART_RATES_BPM, sample.heart_rate),
        "cad": _within(CADENCES_RPM, sample.cadence),
    }
    told = "".join(f"<gpxtpx:{name}>{value}</gpxtpx:{name}>" for name, value in measured.items() if value)
    if told:
        told = f"<gpxtpx:TrackPointExtension>{told}</gpxtpx:TrackPointExtension>"
    power = _within(POWERS_W, sample.power)
    return f"{told}<pwr:PowerInWatts>{power}</pwr:PowerInWatts>" if power else told


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
