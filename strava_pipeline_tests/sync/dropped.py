"""Files that somebody drops into the watched folder."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path


def drop(root: Path, name: str, content: bytes = b"content", *, at: float | None = None) -> Path:
    """Write a file, and its folder; ``at``: when it seems to be of (epoch, s)."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at, at))
    return path


def a_gpx(start: datetime, minutes: int = 40, name: str = "Over the pass") -> bytes:
    """A ride to the north, a point every ten seconds, 50 m each, as a device writes it."""
    points = "".join(
        f'<trkpt lat="{47 + 0.00045 * number:.6f}" lon="13"><ele>{400 + number}</ele>'
        f"<time>{start + timedelta(seconds=10 * number):%Y-%m-%dT%H:%M:%SZ}</time></trkpt>"
        for number in range(6 * minutes)
    )
    return (
        '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1" version="1.1" creator="a device"><trk>'
        f"<name>{name}</name><type>cycling</type><trkseg>{points}</trkseg></trk></gpx>"
    ).encode()
