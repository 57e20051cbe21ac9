"""Made-up GPX and TCX, and the recordings that lie beside this module."""

from __future__ import annotations

import gzip
from pathlib import Path

DATA = Path(__file__).parent / "data" / "xml"
BEGIN = "2026-03-01T08:00:00Z"
EXTENSION_V1 = "http://www.garmin.com/xmlschemas/TrackPointExtension/v1"
EXTENSION_V2 = "http://www.garmin.com/xmlschemas/TrackPointExtension/v2"


def sample(name: str) -> bytes:
    data = (DATA / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def at(second: int) -> str:
    return f"2026-03-01T08:{second // 60:02}:{second % 60:02}Z"


def trkpt(second: int | None, *, inside: str = "", lat: str = "50.0", lon: str = "7.0") -> str:
    time = "" if second is None else f"<time>{at(second)}</time>"
    return f'<trkpt lat="{lat}" lon="{lon}">{time}{inside}</trkpt>'


def gpx(*segments: str, head: str = "", creator: str = "A watch", namespaces: str = "") -> bytes:
    tracks = "".join(f"<trkseg>{points}</trkseg>" for points in segments)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><gpx version="1.1" creator="{creator}" '
        f'xmlns="http://www.topografix.com/GPX/1/1" {namespaces}><trk>{head}{tracks}</trk></gpx>'
    ).encode()


def extended(second: int, inside: str, *, prefix: str = "gpxtpx") -> str:
    return trkpt(
        second,
        inside=f"<extensions><{prefix}:TrackPointExtension>{inside}</{prefix}:TrackPointExtension></extensions>",
    )


def trackpoint(second: int, inside: str = "") -> str:
    return f"<Trackpoint><Time>{at(second)}</Time>{inside}</Trackpoint>"


def lap(*tracks: str, second: int = 0, head: str = "") -> str:
    within = "".join(f"<Track>{points}</Track>" for points in tracks)
    return f'<Lap StartTime="{at(second)}">{head}{within}</Lap>'


def activity(*laps: str, sport: str = "Biking", tail: str = "") -> str:
    return f'<Activity Sport="{sport}"><Id>{BEGIN}</Id>{"".join(laps)}{tail}</Activity>'


def tcx(*activities: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<TrainingCenterDatabase xmlns="http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2">'
        f"<Activities>{''.join(activities)}</Activities></TrainingCenterDatabase>"
    ).encode()
