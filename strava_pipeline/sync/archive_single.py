"""Hands in one file, as a watched folder does, and says what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from strava_pipeline.errors import AlreadyImported, UnreadableFile
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_import import HandingIn, hand_in
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_readers import OpenReader, ReaderProcess
from strava_pipeline.sync.archive_source import HandedBytes, HandedZip
from strava_pipeline.warehouse.archives.import_counts import FileFate, fates_of
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.states import CameBy


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """What became of a file.

    ``activity_id``: what it was taken for, negative if it is an activity of its own, ``None`` if it is none, or if the
    file is an archive of many. ``start``: of the activity (UTC). ``doubt``: why it was not taken for an activity that
    is like it. ``fault``: why nothing of it is stored. ``is_new``: it was not handed in before.
    """

    activity_id: int | None = None
    start: datetime | None = None
    doubt: str | None = None
    fault: str | None = None
    is_new: bool = True

    @property
    def is_merged(self) -> bool:
        """Whether Strava tells of the activity as well."""
        return self.activity_id is not None and self.activity_id > 0


def hand_in_file(
    engine: Engine,
    settings: Settings,
    given: Path | HandedBytes | HandedZip,
    *,
    athlete_id: int,
    options: ArchiveOptions | None = None,
    came_by: CameBy = CameBy.FOLDER,
    readers: OpenReader = ReaderProcess,
) -> HandedOver:
    """Import a file; one that cannot be read is an outcome, all other errors are those of :func:`.import_archive`."""
    handing = HandingIn(given=given, athlete_id=athlete_id, came_by=came_by, options=options or ArchiveOptions())
    is_new = True
    try:
        import_id = hand_in(engine, settings, handing, readers).import_id
    except UnreadableFile as error:
        return HandedOver(fault=str(error))
    except AlreadyImported as error:
        import_id, is_new = error.import_id, False
    with autocommit(engine) as connection:
        fates = fates_of(connection, import_id)
    if len(fates) != 1:
        return HandedOver(is_new=is_new)
    return _told(fates[0], is_new=is_new)


def _told(fate: FileFate, *, is_new: bool) -> HandedOver:
    # Nothing that tells no time can be an activity of its own.
    fault = fate.fault or (fate.doubt if fate.activity_id is None else None)
    return HandedOver(
        activity_id=fate.activity_id,
        start=fate.start,
        doubt=None if fault else fate.doubt,
        fault=fault,
        is_new=is_new,
    )
