"""Reads stored recordings: again, once an activity's start or length has changed, or what was begun and not finished.

What is to be read the tables know; a recording that was read is not read again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.files.archive.limits import DEFAULT_LIMITS
from strava_pipeline.months import Span
from strava_pipeline.sync.archive_readers import OpenReader, Reader, ReaderProcess, read_all
from strava_pipeline.sync.archive_reading import Answer, Asked, Outline, Read, Terms, Unread
from strava_pipeline.warehouse.archives.files import load_recording_bytes, note_unreadable
from strava_pipeline.warehouse.archives.freed_files import decide_freed_files, unread_of_files
from strava_pipeline.warehouse.archives.merging import merge
from strava_pipeline.warehouse.archives.recordings import ToRead, store_recording, to_read
from strava_pipeline.warehouse.engine import autocommit, retry_transaction

# What is stored was within the bounds of its import; packed by us, it may be smaller than any gzip of a device.
STORED_LIMITS: Final = replace(DEFAULT_LIMITS, ratio=2**20)


@dataclass(frozen=True)
class ReadAgain:
    """How many recordings were ``stored``, and why those ``unread`` were not, by activity."""

    stored: int
    unread: dict[int, str]


def read_recordings(
    engine: Engine, span: Span, only: Collection[int] | None = None, readers: OpenReader = ReaderProcess
) -> ReadAgain:
    """Read the recordings of a span's activities that are to be read, or of those of them in ``only``.

    Each is stored by itself, so that a run that dies keeps its work. ``readers``: opens one if there is something to be
    read.
    """
    with autocommit(engine) as connection:
        wanted = to_read(connection, span.athlete_id, span if only is None else only)
    if not wanted:
        return ReadAgain(0, {})
    with readers(Terms(athlete_id=span.athlete_id, limits=STORED_LIMITS)) as reader:
        return _read(engine, span.athlete_id, wanted, reader)


def read_freed_files(engine: Engine, readers: OpenReader = ReaderProcess) -> int:
    """Take up files that another athlete had handed in before, and whose activity is gone; return how many were read.

    Read are all recordings of activities that only files tell of, if they were not read so far.
    """
    decide_freed_files(engine)
    with autocommit(engine) as connection:
        unread = unread_of_files(connection)
    stored = 0
    for athlete_id, ids in unread.items():
        with autocommit(engine) as connection:
            wanted = to_read(connection, athlete_id, ids)
        # Whoever has disconnected meanwhile gets nothing.
        with suppress(NeedsReauthorization), readers(Terms(athlete_id=athlete_id, limits=STORED_LIMITS)) as reader:
            stored += _read(engine, athlete_id, wanted, reader).stored
    return stored


def _read(engine: Engine, athlete_id: int, wanted: Collection[ToRead], reader: Reader) -> ReadAgain:
    stored, unread = 0, dict[int, str]()
    for goal, found in read_all(reader, _asked(engine, athlete_id, wanted)):
        if isinstance(found, Unread):
            unread[goal.activity_id] = found.fault
            if found.is_passing:
                continue
        stored += isinstance(found, Read)
        retry_transaction(engine, partial(_keep, athlete_id=athlete_id, goal=goal, found=found))
    return ReadAgain(stored, unread)


def _asked(engine: Engine, athlete_id: int, wanted: Collection[ToRead]) -> Iterator[tuple[ToRead, Asked]]:
    for each in wanted:
        with autocommit(engine) as connection:
            found = load_recording_bytes(connection, athlete_id, each.recording_id)
        if found is not None:
            name = f"recording {each.recording_id} of activity {each.activity_id}"
            yield each, Asked(name, found[1], outline_of_goal(each))


def _keep(connection: Connection, athlete_id: int, goal: ToRead, found: Answer) -> None:
    if isinstance(found, Read):
        store_recording(connection, goal, found.recording, found.shaped)
    elif isinstance(found, Unread):
        taken_for = note_unreadable(connection, athlete_id, goal.recording_id, found.fault)
        merge(connection, athlete_id, taken_for | {goal.activity_id})


def outline_of_goal(goal: ToRead) -> Outline:
    """Return what the streams of a recording are made for."""
    return Outline(goal.activity_id, goal.start, goal.elapsed_s, goal.distance_m)
