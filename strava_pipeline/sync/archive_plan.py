"""What an archive import would do, without doing it: nothing is written, and no recording is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_import import HandingIn, same_content
from strava_pipeline.sync.archive_index import ArchiveIndex, index_of
from strava_pipeline.sync.archive_room import refuse_without_room
from strava_pipeline.sync.archive_source import HandedIn, open_handed_in, refuse_archive_of_another
from strava_pipeline.warehouse.archives.forecast import Forecast, forecast
from strava_pipeline.warehouse.archives.rows import refuse_ids_of_others
from strava_pipeline.warehouse.engine import autocommit, now


@dataclass(frozen=True, kw_only=True)
class ArchivePlan:
    """What would be done.

    ``imported_before``: number of the archive import of the same content, after which this one would change nothing.
    ``months``: first days of months with activities, the newest first. ``recordings``: files; ``loose``: those that no
    row names. ``refused``: why members would not be opened. What is in ``index`` was found in the table.
    """

    name: str
    imported_before: int | None
    index: ArchiveIndex
    forecast: Forecast
    recordings: int
    refused: tuple[str, ...]
    strays: int
    photos: int

    @property
    def months(self) -> list[date]:
        return self.index.months


def plan_import(engine: Engine, settings: Settings, handing: HandingIn) -> ArchivePlan:
    """Return what :func:`.import_archive` would do; raises what it would raise before it writes anything."""
    with open_handed_in(handing.given, handing.limits) as handed, autocommit(engine) as connection:
        refuse_archive_of_another(handed, handing.athlete_id, trusted=handing.options.trust_athlete)
        found = Forecast()

        def look(rows: Sequence[ArchiveRow]) -> None:
            nonlocal found
            refuse_ids_of_others(connection, handing.athlete_id, [row.id for row in rows])
            found += forecast(connection, rows)

        index = index_of(handed, handing.options.sport_words, now(connection), look)
        refuse_without_room(settings, recording_bytes=handed.recording_bytes, rows=index.rows)
        listing = handed.members.listing
        return ArchivePlan(
            name=handed.name,
            imported_before=same_content(connection, handing.athlete_id, listing.content_hash),
            index=index,
            forecast=found,
            recordings=len(handed.recordings),
            refused=tuple(_refused(handed)),
            strays=listing.strays,
            photos=listing.media,
        )


def _refused(handed: HandedIn) -> list[str]:
    """Why recordings would not be opened: too large, packed too well, encrypted."""
    found = []
    for name in handed.recordings:
        try:
            handed.members.open(name).close()
        except UnreadableFile as error:
            found.append(str(error))
    return found
