"""Reads one recording: unpacks it, tells its id, and makes streams of it. No database, no Dagster.

This is what the process of :mod:`.archive_reader` does with each file; it imports nothing but readers.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.recording_bytes import recording_bytes
from strava_pipeline.files.figures import activity_figures
from strava_pipeline.files.file_kinds import FileKind
from strava_pipeline.files.reading import read_recording
from strava_pipeline.files.recording import Recording, recording_id
from strava_pipeline.files.shaping import Shaped, shape

_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of an activity, of which a file is read: start (UTC), and lengths in s and m.

    ``activity_id``: 0 for a file that becomes an activity of its own, whose id is the recording's, negative.
    """

    activity_id: int = 0
    start: datetime | None = None
    elapsed_s: int | None = None
    distance_m: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How the files of an import are read.

    ``check``: whether checksums of FIT are verified. ``known``: ids of recordings that are not to be read again.
    """

    athlete_id: int
    check: bool = False
    known: frozenset[int] = frozenset()
    limits: ArchiveLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Asked:
    """A file to be read, as it lies in its archive."""

    name: str
    raw: bytes
    outline: Outline


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A recording as it was read, ``packed`` by gzip; ``figures`` as of :func:`.activity_figures`."""

    recording_id: int
    kind: FileKind
    packed: bytes
    recording: Recording
    shaped: Shaped
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A file that was read before."""

    recording_id: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A file of which nothing is read, and why, in one line. ``recording_id``: of it as far as it was unpacked.

    ``is_passing``: not the file, but the machine may be to blame, so that it is to be tried again.
    """

    fault: str
    recording_id: int
    is_passing: bool = False


Answer = Read | Known | Unread


def unread(asked: Asked, why: str, *, is_passing: bool = False) -> Unread:
    return Unread(f"{asked.name} {why}", recording_id(asked.raw), is_passing)


def answer(asked: Asked, terms: Terms) -> Answer:
    """Read a file. What cannot be read is an answer as well."""
    try:
        found = recording_bytes(asked.name, asked.raw, terms.limits)
    except UnreadableFile as error:
        return Unread(str(error), recording_id(asked.raw))
    identity = recording_id(found.data)
    if identity in terms.known:
        return Known(identity)
    try:
        recording = read_recording(found.kind, found.data, check=terms.check, most_records=terms.limits.records)
    except UnreadableFile as error:
        return Unread(f"{asked.name}: {error}", identity)
    if recording.start is None and not recording.time.size:
        return Unread(f"{asked.name} holds no points: it is a plan, or nothing was recorded", identity)
    return Read(
        recording_id=identity,
        kind=found.kind,
        packed=asked.raw if asked.raw.startswith(_GZIP) else gzip.compress(asked.raw, mtime=0),
        recording=replace(recording, damage=tuple(sorted({*recording.damage, *found.damage}))),
        shaped=shape(
            recording,
            start=asked.outline.start,
            elapsed_s=asked.outline.elapsed_s,
            distance_m=asked.outline.distance_m,
            activity_id=asked.outline.activity_id or -identity,
            athlete_id=terms.athlete_id,
        ),
        figures=activity_figures(recording),
    )
