"""Reads a recording of any format."""

from __future__ import annotations

from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.fit.reader import MOST_RECORDS, read_fit
from strava_pipeline.files.gpx import read_gpx
from strava_pipeline.files.recording import Recording
from strava_pipeline.files.tcx import read_tcx


def read_recording(kind: FileKind, data: bytes, *, check: bool = False, most_records: int = MOST_RECORDS) -> Recording:
    """Return a recording of a kind, unpacked, with whatever of it is readable.

    ``check``: whether the checksums of a FIT are verified; other kinds have none. ``UnreadableFile``: nothing of it can
    be read, or it has more than ``most_records``.
    """
    match kind:
        case FileKind.FIT:
            return read_fit(data, check=check, most_records=most_records)
        case FileKind.TCX:
            return read_tcx(data, most_records=most_records)
        case FileKind.GPX:
            return read_gpx(data, most_records=most_records)
