"""Uploads by browser, a row each: what is on its way, how much of it is stored, and which archive import reads it.

``received_bytes`` is raised once the bytes are on the disk. So whoever goes on after a process died begins at its
value, and writes again what lies behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, update

from strava_pipeline.errors import ErasureUnderWay, WarehouseError
from strava_pipeline.warehouse.erasures import is_being_erased
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.upload_tables import uploads
from strava_pipeline.warehouse.states import ArchiveState, UploadState

# Uploads at work at the same time, of all athletes; each has one body on its way.
MOST_AT_ONCE = 4
# An upload without a part for so long holds nobody else up.
QUIET = timedelta(minutes=5)
# One without a part for so long has no room kept for it. If it goes on after all, room is looked for anew.
RESERVED = timedelta(hours=1)
# An upload is deleted so long after its last part, whatever became of it.
KEPT = timedelta(days=7)
_c = uploads.c


@dataclass(frozen=True)
class FileToUpload:
    """A file as the browser tells it: ``ends_hash`` is the SHA-256 of its first and its last MiB, in hex."""

    name: str
    size_bytes: int
    ends_hash: str


@dataclass(frozen=True)
class Upload:
    """An upload as it stands (times in UTC); ``import_id``: the archive import that reads it, once it is whole."""

    id: int
    athlete_id: int
    name: str
    size_bytes: int
    ends_hash: str
    received_bytes: int
    state: UploadState
    import_id: int | None
    begun_at: datetime
    alive_at: datetime

    @property
    def file(self) -> FileToUpload:
        return FileToUpload(self.name, self.size_bytes, self.ends_hash)

    @property
    def left_bytes(self) -> int:
        return self.size_bytes - self.received_bytes


class UploadRefused(WarehouseError):
    """An upload may not begin or go on now; the text tells whoever uploads why."""


class AnotherUpload(UploadRefused):
    """Another file of the athlete is on its way."""

    def __init__(self, other: Upload) -> None:
        share = 100 * other.received_bytes // max(other.size_bytes, 1)
        super().__init__(f"Another upload is not finished: {other.name}, {share} %. Go on with it, or cancel it first.")


class TooManyUploads(UploadRefused):
    """As many uploads as may be are at work."""

    def __init__(self) -> None:
        super().__init__("Others are uploading just now. Try again in a few minutes.")


def open_upload(connection: Connection, athlete_id: int, file: FileToUpload) -> Upload:
    """Begin an upload, or take up that of the same file. The transaction must be short: it holds up other uploads.

    ``AnotherUpload``, ``TooManyUploads``; ``ErasureUnderWay`` while the athlete's data are being deleted,
    ``NeedsReauthorization`` after the athlete has disconnected.
    """
    acquire(connection, Lock.UPLOADS)
    refuse_rows_of_revoked(connection, [athlete_id])
    if is_being_erased(connection, athlete_id):
        raise ErasureUnderWay(
            f"the data of athlete {athlete_id} are still being deleted: upload again in a few minutes"
        )
    found = _one(connection, _select().where(_c.athlete_id == athlete_id, _c.state == UploadState.OPEN))
    if found is not None and found.file != file:
        raise AnotherUpload(found)
    at_work = select(func.count()).where(
        _c.state == UploadState.OPEN, _c.athlete_id != athlete_id, _c.alive_at > database_time() - QUIET
    )
    if connection.execute(at_work).scalar_one() >= MOST_AT_ONCE:
        raise TooManyUploads
    if found is None:
        row = {"athlete_id": athlete_id, "name": file.name, "size_bytes": file.size_bytes, "ends_hash": file.ends_hash}
        begun = insert(uploads).values(row | {"received_bytes": 0, "state": UploadState.OPEN}).returning(*uploads.c)
        return _upload(connection.execute(begun).one())
    connection.execute(update(uploads).where(_c.id == found.id).values(alive_at=database_time()))
    return found


def load_upload(connection: Connection, upload_id: int) -> Upload | None:
    """Return an upload, and lock its row until the transaction ends; ``None`` if there is none any more."""
    return _one(connection, _select().where(_c.id == upload_id).with_for_update())


def uploads_of(connection: Connection, athlete_id: int) -> list[Upload]:
    """Return an athlete's uploads, oldest first."""
    return [_upload(row) for row in connection.execute(_select().where(_c.athlete_id == athlete_id).order_by(_c.id))]


def bytes_to_come(connection: Connection) -> int:
    """Return how many bytes of open uploads are still on their way; those that stand still do not count."""
    is_coming = and_(_c.state == UploadState.OPEN, _c.alive_at > database_time() - RESERVED)
    left = select(func.sum(_c.size_bytes - _c.received_bytes)).where(is_coming)
    return int(connection.execute(left).scalar() or 0)


def note_received(connection: Connection, upload_id: int, received_bytes: int) -> None:
    """Note that so much of an upload is on the disk."""
    values = {"received_bytes": received_bytes, "alive_at": database_time()}
    connection.execute(update(uploads).where(_c.id == upload_id).values(values))


def note_handed_in(connection: Connection, upload_id: int, import_id: int) -> None:
    """Note that an archive import reads the upload, which is whole."""
    values = {"state": UploadState.HANDED_IN, "import_id": import_id, "alive_at": database_time()}
    connection.execute(update(uploads).where(_c.id == upload_id).values(values))


def delete_upload(connection: Connection, upload_id: int) -> bool:
    """Delete an upload's row; return whether it was there. Its file goes afterwards."""
    return connection.execute(delete(uploads).where(_c.id == upload_id)).rowcount > 0


def end_uploads(connection: Connection, athlete_id: int) -> int:
    """Delete the rows of all uploads of an athlete; return how many. Their files go afterwards."""
    return connection.execute(delete(uploads).where(_c.athlete_id == athlete_id)).rowcount


def delete_ended(connection: Connection) -> int:
    """Delete the rows of uploads whose archive import is done or undone, or whose week is over; return how many.

    An import that failed may be tried again.
    """
    may_read = (ArchiveState.WAITING, ArchiveState.RUNNING, ArchiveState.FAILED)
    reading = select(archive_imports.c.id).where(archive_imports.c.state.in_(may_read))
    has_ended = and_(_c.state == UploadState.HANDED_IN, _c.import_id.not_in(reading))
    is_old = _c.alive_at < database_time() - KEPT
    return connection.execute(delete(uploads).where(or_(has_ended, is_old))).rowcount


def old_uploads(connection: Connection) -> int:
    """Return how many uploads have stayed for more than a day longer than they are kept."""
    is_old = _c.alive_at < database_time() - KEPT - timedelta(days=1)
    return int(connection.execute(select(func.count()).where(is_old)).scalar_one())


def upload_ids(connection: Connection) -> frozenset[int]:
    """Return the numbers of all uploads that have a row."""
    return frozenset(connection.execute(select(_c.id)).scalars())


def _select() -> Select[Any]:
    return select(*uploads.c)


def _one(connection: Connection, query: Select[Any]) -> Upload | None:
    row = connection.execute(query).first()
    return None if row is None else _upload(row)


def _upload(row: Row[Any]) -> Upload:
    found = row._asdict()
    return Upload(**(found | {"state": UploadState(row.state)}))
