"""Stores files of an archive import a few at a time: kept, merged, and made into streams, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.sync.archive_readers import Reader, read_all
from strava_pipeline.sync.archive_reading import Answer, Asked, Known, Outline, Read, Unread
from strava_pipeline.sync.archive_recordings import outline_of_goal
from strava_pipeline.sync.archive_source import HandedIn
from strava_pipeline.warehouse.archives import imports
from strava_pipeline.warehouse.archives.files import HandedFile, store_files
from strava_pipeline.warehouse.archives.imports import ArchiveImport
from strava_pipeline.warehouse.archives.known_files import activities_of, known_figures
from strava_pipeline.warehouse.archives.merging import merge_handed_in
from strava_pipeline.warehouse.archives.recordings import store_recordings, to_read
from strava_pipeline.warehouse.engine import autocommit, retry_transaction

# Files that are stored in one transaction: so many, or as soon as they are so large together.
FILES: Final = 16
BYTES: Final = 4 * 2**20
_SIGN_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be stored. ``name``: by which the import knows it; ``member``: where it lies.

    ``outline``: of the activity whose row names it; its id is 0 if none does.
    """

    name: str
    member: str
    outline: Outline = field(default_factory=Outline)

    @property
    def row_id(self) -> int | None:
        return self.outline.activity_id or None


@dataclass(frozen=True)
class Stored:
    """What became of a file: the activity that it was taken for, if there is one, and what was read of it."""

    wanted: Wanted
    answer: Answer
    activity_id: int | None


@dataclass
class FileStore:
    """Stores files of an archive import.

    ``unopened``: why members were not even opened, by name; ``postponed``: why others are to be read another time.
    """

    engine: Engine
    begun: ArchiveImport
    handed: HandedIn
    reads: Reader
    unopened: dict[str, str] = field(default_factory=dict)
    postponed: dict[str, str] = field(default_factory=dict)

    def store(self, files: Iterable[Wanted]) -> Iterator[Stored]:
        """Store files, and yield what became of each; those that cannot be opened, or read now, are only noted."""
        answers = read_all(self.reads, self._opened(files))
        for part in _parts(self._without_postponed(self._with_signs_of_life(answers))):
            yield from retry_transaction(self.engine, partial(self._store, part=part))

    def _with_signs_of_life(self, answers: Iterable[tuple[Wanted, Answer]]) -> Iterator[tuple[Wanted, Answer]]:
        """Give a sign of life now and then, since a part of files that are slow to read takes long."""
        given_at = time.monotonic()
        for each in answers:
            yield each
            if time.monotonic() - given_at > _SIGN_EVERY_S:
                with autocommit(self.engine) as connection:
                    imports.beat(connection, self.begun.id)
                given_at = time.monotonic()

    def _without_postponed(self, answers: Iterable[tuple[Wanted, Answer]]) -> Iterator[tuple[Wanted, Answer]]:
        """Note what is to be read another time. It is not stored: what is stored is not read again.

        After the last try it is, since the file may be to blame after all.
        """
        for wanted, found in answers:
            if isinstance(found, Unread) and found.is_passing and not self.begun.is_last_try:
                self.postponed[wanted.name] = f"{found.fault}: import the same again to try it once more"
            else:
                yield wanted, found

    def _opened(self, files: Iterable[Wanted]) -> Iterator[tuple[Wanted, Asked]]:
        for wanted in files:
            try:
                raw = self.handed.members.read(wanted.member)
            except UnreadableFile as error:
                self.unopened[wanted.name] = str(error)
                continue
            yield wanted, Asked(wanted.name, raw, wanted.outline)

    def _store(self, connection: Connection, part: Sequence[tuple[Wanted, Answer]]) -> list[Stored]:
        athlete_id = self.begun.athlete_id
        imports.beat(connection, self.begun.id)
        known = [found.recording_id for _, found in part if isinstance(found, Known)]
        figures = known_figures(connection, athlete_id, known)
        handed = [_handed_file(athlete_id, wanted, found, figures) for wanted, found in part]
        store_files(connection, self.begun.id, athlete_id, handed)
        merge_handed_in(connection, athlete_id, [wanted.row_id or -found.recording_id for wanted, found in part])
        taken_for = activities_of(connection, self.begun.id, {found.recording_id for _, found in part})
        goals = {
            (goal.activity_id, goal.recording_id): goal
            for goal in to_read(connection, athlete_id, sorted(set(taken_for.values())))
        }
        # What Strava tells may differ from the archive's row: then it is read again, by its own start and length.
        fitting = [
            (goal, found.recording, found.shaped)
            for wanted, found in part
            if isinstance(found, Read)
            and (goal := goals.get((taken_for.get(wanted.name, 0), found.recording_id))) is not None
            and _is_for(wanted, found, outline_of_goal(goal))
        ]
        store_recordings(connection, athlete_id, fitting)
        return [Stored(wanted, found, taken_for.get(wanted.name)) for wanted, found in part]


def _parts(answers: Iterable[tuple[Wanted, Answer]]) -> Iterator[list[tuple[Wanted, Answer]]]:
    part: list[tuple[Wanted, Answer]] = []
    size = 0
    for wanted, found in answers:
        part.append((wanted, found))
        size += len(found.packed) if isinstance(found, Read) else 0
        if len(part) == FILES or size > BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _handed_file(athlete_id: int, wanted: Wanted, found: Answer, figures: Mapping[int, dict[str, Any]]) -> HandedFile:
    told = HandedFile(athlete_id=athlete_id, recording_id=found.recording_id, name=wanted.name, row_id=wanted.row_id)
    match found:
        case Read():
            return replace(told, kind=found.kind, body=found.packed, figures=found.figures)
        case Known():
            return replace(told, figures=figures.get(found.recording_id))
        case Unread():
            return replace(told, fault=found.fault)


def _is_for(wanted: Wanted, found: Read, goal: Outline) -> bool:
    """Whether a recording was read for just this start and length."""
    if wanted.row_id is None:
        return goal.activity_id == -found.recording_id
    return wanted.outline == goal
