"""Takes the files of one athlete from the watched folder: stored, analysed, told by mail as for a webhook, and moved.

Each step may be done twice. A file is moved last, so a process that dies leaves it where it was: the next one finds it
stored already, and neither a second activity nor a second mail comes of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from sqlalchemy import Engine

from strava_pipeline.errors import (
    ArchiveImportRunning,
    ConfigurationError,
    NeedsReauthorization,
    UnreadableFile,
    WorkTaken,
)
from strava_pipeline.log_context import log_ids
from strava_pipeline.months import Span
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.sync.backfill import NotAnalysed, analyse_span
from strava_pipeline.sync.files_folder import RESTS_SECONDS, Rest, WaitingFile, waiting_files
from strava_pipeline.sync.folder_files import CannotMove, FolderFiles, NotAtRest, files_of
from strava_pipeline.warehouse.kept import EVERYTHING, Kept
from strava_pipeline.warehouse.mail.mail_queue import enqueue_mail_of_file
from strava_pipeline.warehouse.pauses import REAL_PAUSES, Pauses
from strava_pipeline.warehouse.states import ImportStep
from strava_pipeline.warehouse.work_leases import only_worker

LEASE_NAME: Final = "files_folder"
LOOK_SECONDS: Final = 1.0
# A run begins no further file after this time. What is left is for the next one.
WORKS_FOR_SECONDS: Final = 600.0
# A run in which no file came to rest for so long ends: a file that goes on growing is for the next one.
WAITS_FOR_SECONDS: Final = 3 * RESTS_SECONDS
_MOMENT = timedelta(microseconds=1)
log = get_logger(__name__)


@dataclass(frozen=True)
class TakenFor:
    """The activity that a file was taken for, and when it starts (UTC)."""

    activity_id: int
    start: datetime


class HandIn(Protocol):
    """Stores a file that was handed in, by name and bytes, and says what it was taken for.

    ``UnreadableFile`` if nothing of it can be read, or it is no activity. The same bytes again change nothing.
    """

    def __call__(self, athlete_id: int, name: str, body: bytes, /) -> TakenFor: ...


@dataclass(frozen=True)
class FolderWork:
    """What files are taken with.

    ``hand_in_archive``: imports an archive of Strava's, by name and as an open file; its errors are those of
    ``hand_in``. ``max_age``: of rides that get a mail, since their end. ``clock``: s, steady.
    """

    engine: Engine
    root: Path
    hand_in: HandIn
    hand_in_archive: Callable[[int, str, BinaryIO], None]
    max_age: timedelta
    kept: Kept = EVERYTHING
    pauses: Pauses = REAL_PAUSES
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Took:
    """A file that became an activity, or part of one. ``has_mail``: a mail was queued about it."""

    file: WaitingFile
    taken_for: TakenFor
    has_mail: bool


@dataclass(frozen=True)
class TookArchive:
    """An archive of Strava's that was imported."""

    file: WaitingFile


@dataclass(frozen=True)
class Refused:
    """A file that was moved to ``failed``, and why."""

    file: WaitingFile
    why: str


@dataclass(frozen=True)
class Stuck:
    """What keeps a file, or all of an athlete's, where it is: a line that says what to do."""

    why: str


Outcome = Took | TookArchive | Refused | Stuck


def take_files(work: FolderWork, athlete_id: int) -> Iterator[Outcome]:
    """Take an athlete's files as they come to rest, the oldest first, and yield what became of each.

    ``WorkTaken`` if another process is at it, ``ConfigurationError`` if the watched folder cannot be read.
    """
    with only_worker(work.engine, athlete_id, LEASE_NAME, _end_at_once, work.pauses):
        try:
            with files_of(work.root, athlete_id) as folder:
                folder.prepare()
                yield from _until_stuck(_Taking(work, folder).all_that_rest())
        except CannotMove as trouble:
            yield Stuck(str(trouble))


def _until_stuck(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Yield outcomes until something keeps all files waiting: another import, a full disk, an athlete who left."""
    try:
        yield from outcomes
    except (ArchiveImportRunning, NeedsReauthorization, ConfigurationError) as trouble:
        yield Stuck(str(trouble))


def _end_at_once(_: float) -> None:
    raise WorkTaken("another run takes the files of this athlete: this one has nothing to do")


@dataclass
class _Taking:
    """Takes the files of one open folder; ``stuck``: those that this run tries no more."""

    at: FolderWork
    folder: FolderFiles
    stuck: set[WaitingFile] = field(default_factory=set)

    def all_that_rest(self) -> Iterator[Outcome]:
        """Take file after file until none is left, or those that are left do not come to rest."""
        rest, begun_at = Rest(self.at.clock), self.at.clock()
        last_at = begun_at
        while self.at.clock() - begun_at < WORKS_FOR_SECONDS:
            waiting = self._waiting()
            rested = rest.rested(waiting)
            if rested:
                outcome = self._take(rested[0])
                last_at = self.at.clock()
                if outcome is not None:
                    yield outcome
            elif not waiting or self.at.clock() - last_at >= WAITS_FOR_SECONDS:
                return
            else:
                self.at.pauses.sleep(LOOK_SECONDS)

    def _waiting(self) -> list[WaitingFile]:
        found = waiting_files(self.at.engine, self.at.root).files
        return [file for file in found if file.athlete_id == self.folder.athlete_id and file not in self.stuck]

    def _take(self, file: WaitingFile) -> Outcome | None:
        """Take a file; ``None`` if it is not at rest after all."""
        try:
            return self._taken(file)
        except NotAtRest:
            return None
        except UnreadableFile as error:
            return self._refused(file, str(error))
        except CannotMove as trouble:
            self.stuck.add(file)
            return Stuck(str(trouble))

    def _taken(self, file: WaitingFile) -> Took | TookArchive:
        if self.folder.is_archive(file):
            with self.folder.opened_file(file) as archive:
                self.at.hand_in_archive(self.folder.athlete_id, file.name, archive)
            self._move_to_done(file)
            return TookArchive(file)
        body = self.folder.read(file)
        found = self.at.hand_in(self.folder.athlete_id, file.name, body)
        with log_ids(activity_id=found.activity_id):
            self._analyse(found)
            with self.at.engine.begin() as connection:
                has_mail = enqueue_mail_of_file(connection, found.activity_id, self.at.max_age)
        self._move_to_done(file)
        return Took(file, found, has_mail)

    def _move_to_done(self, file: WaitingFile) -> None:
        try:
            self.folder.move_to_done(file)
        except NotAtRest:
            # Stored by now. What has taken its place is another file, and that one waits.
            log.info("%s was replaced while it was read", printable(file.name))

    def _analyse(self, found: TakenFor) -> None:
        if ImportStep.FIGURES not in self.at.kept.steps:
            return
        try:
            analyse_span(self.at.engine, Span(self.folder.athlete_id, found.start, found.start + _MOMENT))
        except NotAnalysed as error:
            # It is stored all the same; the log has the traceback.
            log.warning("%s", error)

    def _refused(self, file: WaitingFile, why: str) -> Outcome | None:
        try:
            self.folder.move_to_failed(file, why)
        except NotAtRest:
            return None
        except CannotMove as trouble:
            self.stuck.add(file)
            return Stuck(str(trouble))
        return Refused(file, why)
