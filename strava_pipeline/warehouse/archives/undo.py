"""Undoes an archive import: the tables become what the other sources tell.

In batches, each a transaction of its own. A process that dies keeps what it has done; done again, the work goes on.
Meanwhile the import counts as one that is at work, so that nothing else is imported for the athlete.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, select, tuple_, update

from strava_pipeline.warehouse.activities.tombstones import lock_activities
from strava_pipeline.warehouse.archives.files import delete_bytes_of_nobody
from strava_pipeline.warehouse.archives.freed_files import decide_freed_files
from strava_pipeline.warehouse.archives.gear import settle_gear
from strava_pipeline.warehouse.archives.imports import ArchiveImport, beat, load_import, options_at_rest, take_up
from strava_pipeline.warehouse.archives.merging import merge_handed_in, settle
from strava_pipeline.warehouse.athletes.told_profiles import lock_profile, settle_profile
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.columns import any_of, database_time
from strava_pipeline.warehouse.states import ArchiveState

BATCH = 200
UNDOING = "it is being undone; if that ended early, undo it again"
_r, _f = archive_rows.c, archive_files.c


@dataclass(frozen=True)
class Undone:
    """How many activities went, and how many stay with what other sources tell."""

    deleted: int
    kept: int


def undo_import(engine: Engine, import_id: int, batch: int = BATCH) -> Undone:
    """Take back whatever an archive import brought; one that was undone already is left as it is.

    ``UnknownArchiveImport``; ``ArchiveImportRunning`` while it, or another one of the athlete, is at work, and once
    another process has taken it up;
    ``NeedsReauthorization`` if the athlete has disconnected.
    """
    with engine.begin() as connection:
        found = take_up(connection, import_id, note=UNDOING)
    if found.state is ArchiveState.UNDONE:
        return Undone(0, 0)
    deleted, kept = set[int](), set[int]()
    while True:
        done = retry_transaction(engine, lambda connection: _undo_batch(connection, found, batch))
        if done is None:
            break
        deleted, kept = (deleted | done[0]) - done[1], (kept | done[1]) - done[0]
    retry_transaction(engine, lambda connection: _end(connection, found))
    decide_freed_files(engine)
    return Undone(len(deleted), len(kept))


def _undo_batch(connection: Connection, undone: ArchiveImport, size: int) -> tuple[set[int], set[int]] | None:
    """Undo some rows and files; return the activities deleted and kept, ``None`` if nothing was left."""
    beat(connection, undone.id, note=UNDOING)
    lock_activities(connection, undone.athlete_id)
    some = select(_r.activity_id).where(_r.import_id == undone.id).order_by(_r.activity_id).limit(size)
    rows = list(connection.execute(some).scalars())
    columns = (_f.recording_id, _f.name, _f.activity_id, _f.row_id)
    of_rows = select(*columns).where(_f.import_id == undone.id, any_of(_f.row_id, rows))
    files = connection.execute(of_rows).all()
    if not rows:
        files = connection.execute(select(*columns).where(_f.import_id == undone.id).limit(size)).all()
    if not rows and not files:
        return None
    connection.execute(delete(archive_rows).where(_r.import_id == undone.id, any_of(_r.activity_id, rows)))
    named = [(file.recording_id, file.name) for file in files]
    these = tuple_(_f.recording_id, _f.name).in_(named)
    connection.execute(delete(archive_files).where(_f.import_id == undone.id, these))
    delete_bytes_of_nobody(connection, [(undone.athlete_id, file.recording_id) for file in files])
    taken_for = {file.activity_id for file in files if file.activity_id is not None}
    same = {-file.recording_id for file in files}
    merged = merge_handed_in(connection, undone.athlete_id, set(rows) | taken_for | same)
    return set(merged.deleted), set(merged.activity_ids)


def _end(connection: Connection, undone: ArchiveImport) -> None:
    nothing = dict.fromkeys(("failure", "alive_at", "place"))
    ended = {"state": ArchiveState.UNDONE, "ended_at": database_time(), "options": options_at_rest()} | nothing
    if load_import(connection, undone.id).state is ArchiveState.UNDONE:
        return  # a try before did it, whose answer was lost
    lock_profile(connection, undone.athlete_id)
    beat(connection, undone.id, note=UNDOING)
    lock_activities(connection, undone.athlete_id)
    connection.execute(update(archive_imports).where(archive_imports.c.id == undone.id).values(**ended))
    settle(connection, undone.athlete_id)
    settle_gear(connection, undone.athlete_id)
    settle_profile(connection, undone.athlete_id)
