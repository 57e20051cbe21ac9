"""Reads GPX: tracks with the heart rate, cadence, power and temperature that programs add as extensions.

Sources: https://www.topografix.com/GPX/1/1/, https://developers.strava.com/docs/uploads/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.points import Points
from strava_pipeline.files.recording import Device, Recording
from strava_pipeline.files.xml_source import read_xml
from strava_pipeline.files.xml_sports import sport_of
from strava_pipeline.printable import printable

LONGEST_NAME: Final = 255
# Names of extensions in lower case, by any prefix and in any version.
_EXTENSIONS = {
    "hr": "heartrate",
    "heartrate": "heartrate",
    "heartratebpm": "heartrate",
    "cad": "cadence",
    "cadence": "cadence",
    "runcadence": "cadence",
    "power": "watts",
    "watts": "watts",
    "powerinwatts": "watts",
    "atemp": "temp",
    "temp": "temp",
    "temperature": "temp",
    "speed": "speed",
}
# Only these stand directly in a point; GPX 1.0 has the speed there.
_OWN = {"ele": "altitude", "speed": "speed"}


def read_gpx(data: bytes, *, most_records: int = 2_000_000) -> Recording:
    """Return the points of all tracks, one after the other as they stand in the file.

    Routes are plans: they give no points. Gaps between segments are no pauses. Points without time have NaN there;
    without any time ``time`` is all NaN. ``UnreadableFile``: no GPX, or more points than ``most_records``.
    """
    reader = _GpxReader(Points(most_records))
    damage = read_xml(data, reader, FileKind.GPX)
    recording = Recording(
        kind=FileKind.GPX,
        start=None,
        time=np.empty(0),
        device=device_of(reader.creator),
        sport=reader.sport,
        name=reader.name or reader.file_name,
        damage=damage,
    )
    return reader.points.fill(recording)


def device_of(creator: str | None, product: str | None = None) -> Device:
    """Return the device by the name it gives itself, to which ``with barometer`` is added where it has one.

    Source: https://developers.strava.com/docs/uploads/
    """
    creator = one_line(creator or "")
    return Device(
        creator=creator,
        product=product,
        has_barometer=True if creator is not None and "with barometer" in creator.lower() else None,
    )


def one_line(text: str) -> str | None:
    """Return a name as one printable line; ``None`` if it is blank."""
    return printable(" ".join(text.split()), LONGEST_NAME).strip() or None


class _GpxReader:
    def __init__(self, points: Points) -> None:
        self.points = points
        self.creator: str | None = None
        self.name: str | None = None
        self.file_name: str | None = None
        self.sport: str | None = None
        self._open: list[str] = []
        self._values: dict[str, float] | None = None
        self._channels: dict[str, float] = {}

    def opened(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "trkpt":
            self._values, self._channels = {}, {}
            for attribute, series in (("lat", "latitude"), ("lon", "longitude")):
                if attribute in attributes:
                    self._values[series] = self.points.number(attributes[attribute].strip())
        elif not self._open:
            self.creator = attributes.get("creator")
        self._open.append(name)

    def closed(self, name: str, text: str) -> None:
        self._open.pop()
        if self._values is None:
            self._describe(name, text)
        elif name == "trkpt":
            self.points.add(self._values, self._channels)
            self._values = None
        elif text:
            self._tell(name, text, self._values)

    def _tell(self, name: str, text: str, values: dict[str, float]) -> None:
        """Take what an element within a point tells."""
        if self._open[-1] == "trkpt":
            if name == "time":
                values.setdefault("time", self.points.seconds(text))
            elif name in _OWN:
                values.setdefault(_OWN[name], self.points.number(text))
        elif "extensions" in self._open:
            series = _EXTENSIONS.get(name.lower())
            if series is not None:
                values.setdefault(series, self.points.number(text))
            else:
                self.points.tell_channel(self._channels, name, text)

    def _describe(self, name: str, text: str) -> None:
        """Take what a track, or the file, says of itself."""
        if not self._open or not text:
            return
        within = self._open[-1]
        if name == "name" and within == "trk":
            self.name = self.name or one_line(text)
        elif name == "name" and within in ("metadata", "gpx"):
            self.file_name = self.file_name or one_line(text)
        elif name == "type" and within == "trk":
            self.sport = self.sport or sport_of(text)
