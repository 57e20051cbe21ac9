"""Looks at a file that was uploaded whole, and has it wait for its archive import."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_source import open_handed_in, refuse_archive_of_another
from strava_pipeline.warehouse.archives.athletes import ensure_athlete
from strava_pipeline.warehouse.archives.imports import begin_import
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.states import ArchiveKind, CameBy
from strava_pipeline.warehouse.upload_files import fetched, lies_here
from strava_pipeline.warehouse.uploads.rows import Upload


@dataclass(frozen=True)
class Content:
    """What an upload holds. ``taken_at``: until when it tells (UTC); ``None``: until now."""

    kind: ArchiveKind
    content_hash: str
    taken_at: datetime | None


def look_at(place: str, athlete_id: int, *, is_trusted: bool = False) -> Content:
    """Look at an upload's list of contents, and whose it is.

    ``is_trusted``: an archive without a profile is the athlete's. One that lies elsewhere is not copied for that: its
    run looks at it. ``UnreadableFile`` if it is nothing that can be read, is cut off, was made to deceive, or is the
    archive of another athlete.
    """
    if not lies_here(place):
        return Content(ArchiveKind.ARCHIVE, hashlib.sha256(place.encode()).hexdigest(), None)
    with fetched(place) as path, open_handed_in(path) as handed:
        refuse_archive_of_another(handed, athlete_id, trusted=is_trusted)
        listing = handed.members.listing
        return Content(handed.kind, listing.content_hash, listing.newest)


def have_imported(
    connection: Connection, upload: Upload, place: str, content: Content, *, is_trusted: bool = False
) -> int:
    """Note an archive import that waits for its run, and return its number; errors are those of ``begin_import``."""
    ensure_athlete(connection, upload.athlete_id)
    begun = begin_import(
        connection,
        athlete_id=upload.athlete_id,
        kind=content.kind,
        name=upload.name,
        content_hash=content.content_hash,
        taken_at=content.taken_at or now(connection),
        came_by=CameBy.UPLOAD,
        place=place,
        options=ArchiveOptions(trust_athlete=is_trusted).to_json(),
        waiting=True,
    )
    return begun.id
