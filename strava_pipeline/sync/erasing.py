"""Brings erasures to their end: deletes the data of athletes whose erasure was decided, from tables and files.

The command does so at once. Otherwise the bridge's thread begins within seconds, and a run of upkeep where no bridge is
at work. Any of them goes on where another one stopped or died.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable, StravaPipelineError
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.sync.files_folder import erase_files_at_top, erase_folder
from strava_pipeline.warehouse.archives.freed_files import decide_freed_files
from strava_pipeline.warehouse.athletes.folder_owners import folder_owners
from strava_pipeline.warehouse.athletes.row_deletion import delete_rows, end_erasure
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.erasure_list import Extent, note_departure
from strava_pipeline.warehouse.erasures import athletes_being_erased, mark_of

log = get_logger(__name__)


def finish_erasure(
    settings: Settings, engine: Engine, athlete_id: int, go_on: Callable[[], bool] = lambda: True
) -> int:
    """Delete what is left of an athlete whose erasure was decided; return how many rows were deleted since then.

    Before the first row goes, the list of erasures has the athlete: from the data's end on, nobody else would write it.
    0 if there is no such decision, or the erasure has ended. Without ``go_on`` it stops between two batches. Raises
    ``DatabaseUnavailable``, an error of ours if the list cannot be written, and whatever the lake's storage raises; the
    erasure then stays to be finished.
    """
    with autocommit(engine) as connection:
        mark = mark_of(connection, athlete_id)
    if mark is None:
        return 0
    note_departure(settings, athlete_id, mark.begun_at, Extent.ERASED)
    done = delete_rows(engine, mark, go_on)
    if done.is_whole:
        with autocommit(engine) as connection:
            is_last = folder_owners(connection, ()).is_nobodys
        end_erasure(engine, mark, partial(_clear_files, settings, athlete_id, is_last=is_last))
        _decide_freed_files(engine, go_on)
    return done.deleted


def finish_erasures(settings: Settings, engine: Engine, go_on: Callable[[], bool]) -> None:
    """Finish the erasures of all athletes, or stop without ``go_on``, between two batches.

    What fails for one athlete is logged, and is tried again with the next call.
    ``DatabaseUnavailable`` if the database is away.
    """
    with autocommit(engine) as connection:
        waiting = athletes_being_erased(connection)
    for athlete_id in waiting:
        if not go_on():
            return
        _try_to_finish(settings, engine, athlete_id, go_on)


def finish_within(settings: Settings, engine: Engine, athlete_id: int, seconds: float) -> None:
    """Finish an athlete's erasure, if there is one, or stop after so many seconds; a failure is logged.

    ``DatabaseUnavailable`` if the database is away.
    """
    ends_at = time.monotonic() + seconds
    _try_to_finish(settings, engine, athlete_id, lambda: time.monotonic() < ends_at)


def _try_to_finish(settings: Settings, engine: Engine, athlete_id: int, go_on: Callable[[], bool]) -> None:
    try:
        with log_ids(athlete_id=athlete_id):
            finish_erasure(settings, engine, athlete_id, go_on)
    except Exception as error:
        if isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseTooSlow):
            raise
        # A lake's storage has errors of its own, whose texts may hold anything.
        told = error if isinstance(error, StravaPipelineError) else type(error).__name__
        with log_ids(athlete_id=athlete_id):
            log.warning("the data of athlete %d are not all deleted yet, which is tried again: %s", athlete_id, told)


def _decide_freed_files(engine: Engine, go_on: Callable[[], bool]) -> None:
    """Look at files of others that were left to the athlete; the erasure is over, whatever becomes of them."""
    try:
        decide_freed_files(engine, go_on)
    except DatabaseUnavailable as error:
        log.warning("files that were left to an athlete who is gone are looked at in the night: %s", error)


def _clear_files(settings: Settings, athlete_id: int, *, is_last: bool) -> None:
    from strava_pipeline.warehouse.lake_files import erase_athlete_points  # noqa: PLC0415  slow to load, rarely needed
    from strava_pipeline.warehouse.upload_files import open_upload_files  # noqa: PLC0415  as slow to load

    erase_athlete_points(settings.lake_location(), athlete_id)
    open_upload_files(settings.upload_location()).erase(athlete_id)
    erase_folder(settings, athlete_id)
    if is_last:
        erase_files_at_top(settings)
