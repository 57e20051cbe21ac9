"""Imports what somebody handed in: month by month, the newest first, and without one request.

Everything is committed in small parts, each of which may be done twice. So an import that dies goes on where it was:
rows are the same again, and recordings that were read are not read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import ArchiveImportRunning, StravaPipelineError, UnreadableFile
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS, ArchiveLimits
from strava_pipeline.files.archive.row import ArchiveRow
from strava_pipeline.files.archive.side_tables import read_preferences, read_profile
from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.settings import Settings
from strava_pipeline.sync.archive_files import FileStore, Wanted
from strava_pipeline.sync.archive_index import ArchiveIndex, Entry, index_of
from strava_pipeline.sync.archive_options import ArchiveOptions
from strava_pipeline.sync.archive_readers import OpenReader, Reader, ReaderProcess
from strava_pipeline.sync.archive_reading import Read, Terms
from strava_pipeline.sync.archive_recordings import read_recordings
from strava_pipeline.sync.archive_report import Report, report_of
from strava_pipeline.sync.archive_room import refuse_without_room
from strava_pipeline.sync.archive_source import (
    HandedBytes,
    HandedIn,
    HandedZip,
    open_handed_in,
    refuse_archive_of_another,
)
from strava_pipeline.warehouse.archives import imports
from strava_pipeline.warehouse.archives.athletes import ensure_athlete, told_of_athlete
from strava_pipeline.warehouse.archives.gear import store_listed_gear
from strava_pipeline.warehouse.archives.import_counts import count_import
from strava_pipeline.warehouse.archives.imports import ArchiveImport
from strava_pipeline.warehouse.archives.known_files import known_recordings, stored_names
from strava_pipeline.warehouse.archives.merging import merge_handed_in
from strava_pipeline.warehouse.archives.rows import refuse_ids_of_others, store_rows
from strava_pipeline.warehouse.archives.unknown_athletes import let_go_of_unknown
from strava_pipeline.warehouse.athletes.told_profiles import TOLD, settle_profile
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, CameBy

# Ids that are looked up at a time.
_IDS: Final = 5_000
INTERRUPTED: Final = "it was interrupted: hand in the same again, and it goes on"


@dataclass(frozen=True)
class MonthDone:
    """A month that was brought up to date: how many activities the archive has in it, and recordings were read.

    ``number``: of the month, from 1, ``of`` so many in all as are known so far.
    """

    span: Span
    activities: int
    recordings: int
    number: int
    of: int


@dataclass(frozen=True, kw_only=True)
class HandingIn:
    """What is handed in, for whom, by which way. ``place``: from where a later run could read it again."""

    given: Path | HandedBytes | HandedZip
    athlete_id: int
    came_by: CameBy
    options: ArchiveOptions = field(default_factory=ArchiveOptions)
    place: str | None = None
    limits: ArchiveLimits = DEFAULT_LIMITS


def import_archive(
    engine: Engine, settings: Settings, handing: HandingIn, readers: OpenReader = ReaderProcess
) -> Generator[MonthDone, None, Report]:
    """Import an archive or files, yield each month that was brought up to date, and return the quality report.

    ``readers``: opens what reads the recordings.
    First everything is checked that could refuse the whole: nothing is written until then. An import that died or
    failed is taken up by handing in the same again. ``UnreadableFile`` for what is no archive of the athlete, or
    files of which none can be read, ``ActivityOfAnother``, ``AlreadyImported``, ``ArchiveImportRunning``,
    ``NeedsReauthorization`` after the athlete has disconnected, ``ConfigurationError`` without room on the disk.
    """
    with open_handed_in(handing.given, handing.limits) as handed:
        begun = _begin(engine, settings, handing, handed)
        with _noted_if_it_fails(engine, begun), readers(_terms(engine, handing)) as reader:
            return (yield from _Import(engine, handing, handed, begun, reader, readers).work())


def hand_in(engine: Engine, settings: Settings, handing: HandingIn, readers: OpenReader = ReaderProcess) -> Report:
    """Import an archive or files at once; errors are those of :func:`import_archive`."""
    work = import_archive(engine, settings, handing, readers)
    while True:
        try:
            next(work)
        except StopIteration as ended:
            report: Report = ended.value
            return report


def same_content(connection: Connection, athlete_id: int, content_hash: str) -> int | None:
    """Return the number of the import of an athlete that is done, and had this content; ``None`` if there is none."""
    for each in imports.list_imports(connection, athlete_id):
        if each.content_hash == content_hash and each.is_whole:
            return each.id
    return None


def _begin(engine: Engine, settings: Settings, handing: HandingIn, handed: HandedIn) -> ArchiveImport:
    refuse_archive_of_another(handed, handing.athlete_id, trusted=handing.options.trust_athlete)
    with autocommit(engine) as connection:
        moment = now(connection)
        index = index_of(handed, handing.options.sport_words, moment)
        ids = [activity_id for month in index.ids.values() for activity_id in month]
        for at in range(0, len(ids), _IDS):
            refuse_ids_of_others(connection, handing.athlete_id, ids[at : at + _IDS])
    refuse_without_room(settings, recording_bytes=handed.recording_bytes, rows=index.rows)
    is_archive = handed.kind is ArchiveKind.ARCHIVE
    profile, preferences = (
        (read_profile(handed.members), read_preferences(handed.members)) if is_archive else (None, None)
    )
    told = told_of_athlete(profile, preferences)
    # Not tried again: of a begin whose answer is lost nobody would know whether it is ours.
    with engine.begin() as connection:
        ensure_athlete(connection, handing.athlete_id)
        begun = imports.begin_import(
            connection,
            athlete_id=handing.athlete_id,
            kind=handed.kind,
            name=handed.name,
            content_hash=handed.members.listing.content_hash,
            taken_at=_taken_at(handed, handing.options, index, moment),
            came_by=handing.came_by,
            place=handing.place,
            options=handing.options.to_json() | ({TOLD: told} if told else {}),
        )
        settle_profile(connection, handing.athlete_id)
        return begun


def _taken_at(handed: HandedIn, options: ArchiveOptions, index: ArchiveIndex, moment: datetime) -> datetime:
    """Until when it tells: a file until it is handed in, an archive until the day of the export."""
    if options.taken_at is not None:
        return options.taken_at
    if handed.kind is ArchiveKind.FILES:
        return moment
    return handed.members.listing.newest or index.newest_start or moment


def _terms(engine: Engine, handing: HandingIn) -> Terms:
    with autocommit(engine) as connection:
        known = known_recordings(connection, handing.athlete_id)
    return Terms(athlete_id=handing.athlete_id, check=handing.options.check, known=known, limits=handing.limits)


@contextmanager
def _noted_if_it_fails(engine: Engine, begun: ArchiveImport) -> Iterator[None]:
    """Note why an import ended before its time, so that the next one need not wait for its lease."""
    try:
        yield
    except ArchiveImportRunning:
        raise  # another process has it by now
    except BaseException as error:
        # What ended it counts, also where the database is away.
        with suppress(StravaPipelineError), engine.begin() as connection:
            imports.beat(connection, begun.id)
            imports.fail_import(connection, begun.id, _why(error))
        if isinstance(error, UnreadableFile):
            # A wrong file makes no athlete.
            with suppress(StravaPipelineError), engine.begin() as connection:
                let_go_of_unknown(connection, begun.athlete_id)
        raise


def _refuse_if_nothing_is_read(handed: HandedIn, report: Report) -> None:
    """Raise ``UnreadableFile`` for files of which none can be read. An archive has its rows."""
    if handed.table is not None or report.unreadable < report.recordings or not report.faults:
        return
    first, *more = report.faults
    raise UnreadableFile(first if not more else f"none of {report.recordings:,} files can be read, such as: {first}")


def _why(error: BaseException) -> str:
    if not isinstance(error, Exception):  # a person, or whoever asked for the months, has ended it
        return INTERRUPTED
    return str(error) if isinstance(error, StravaPipelineError) else f"it was ended by {type(error).__name__}"


@dataclass
class _Import:
    engine: Engine
    handing: HandingIn
    handed: HandedIn
    begun: ArchiveImport
    reads: Reader
    readers: OpenReader

    def work(self) -> Generator[MonthDone, None, Report]:
        index = index_of(self.handed, self.handing.options.sport_words, self._now(), self._store_rows)
        with autocommit(self.engine) as connection:
            stored = stored_names(connection, self.begun.id)
        files = FileStore(self.engine, self.begun, self.handed, self.reads)
        for number, month in enumerate(index.months, start=1):
            yield self._month(index, month, files, stored, number)
        yield from self._loose([name for name in index.loose if name not in stored], files)

        def end(connection: Connection) -> Report:
            if (
                imports.load_import(connection, self.begun.id).state is not ArchiveState.DONE
            ):  # else a try before did it
                imports.beat(connection, self.begun.id)
            if self.handed.table is not None:
                store_listed_gear(connection, self.begun.id, self.begun.athlete_id, index.gear)
            counts = count_import(connection, self.begun.id)
            report = report_of(
                self.begun.id, index, self.handed.members.listing, counts, files.unopened, files.postponed
            )
            _refuse_if_nothing_is_read(self.handed, report)
            imports.end_import(connection, self.begun.id, report.to_json())
            return report

        return retry_transaction(self.engine, end)

    def _store_rows(self, rows: Sequence[ArchiveRow]) -> None:
        def store(connection: Connection) -> None:
            imports.beat(connection, self.begun.id)
            store_rows(connection, self.begun.id, self.begun.athlete_id, rows)

        retry_transaction(self.engine, store)

    def _month(self, index: ArchiveIndex, month: date, files: FileStore, stored: set[str], number: int) -> MonthDone:
        span, ids = month_span(self.begun.athlete_id, month_start(month)), index.ids[month]

        def derive(connection: Connection) -> None:
            imports.beat(connection, self.begun.id)
            merge_handed_in(connection, self.begun.athlete_id, ids)

        retry_transaction(self.engine, derive)
        wanted = [each for each in _wanted(index.entries.get(month, ())) if each.name not in stored]
        read = sum(1 for _ in files.store(wanted))
        again = read_recordings(self.engine, span, ids, self.readers)
        return MonthDone(span, len(ids), read + again.stored, number, len(index.months))

    def _loose(self, names: Sequence[str], files: FileStore) -> Iterator[MonthDone]:
        """Store files that no row names, and yield the months in which they begin, the newest first."""
        found: Counter[date] = Counter()
        for stored in files.store(Wanted(name, name) for name in names):
            start = stored.answer.figures["start_date"] if isinstance(stored.answer, Read) else None
            if start is not None and stored.activity_id is not None:
                found[add_months(start.astimezone(UTC).date(), 0)] += 1
        for number, month in enumerate(sorted(found, reverse=True), start=1):
            span = month_span(self.begun.athlete_id, month_start(month))
            read_recordings(self.engine, span, readers=self.readers)
            yield MonthDone(span, found[month], found[month], number, len(found))

    def _now(self) -> datetime:
        with autocommit(self.engine) as connection:
            return now(connection)


def _wanted(entries: Iterable[Entry]) -> Iterator[Wanted]:
    """The recordings of rows, the newest first. A file of which two rows are parts has a name for each."""
    names: set[str] = set()
    for entry in sorted(entries, key=lambda entry: (entry.outline.start, entry.outline.activity_id), reverse=True):
        if entry.member is None:
            continue
        name = entry.member if entry.member not in names else f"{entry.member} ({entry.outline.activity_id})"
        names.add(name)
        yield Wanted(name, entry.member, entry.outline)
