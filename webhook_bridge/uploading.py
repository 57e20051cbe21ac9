"""What is done with uploads: begin or go on, store a part, hand the whole file in, cancel.

A part is stored under a lock on the upload's row, and its bytes are on the disk before the row says so. So a bridge
that dies loses at most a part, and of two senders of one part the second is told where the file stands.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO

from sqlalchemy import Connection

from strava_pipeline.errors import AlreadyImported, ArchiveImportRunning, StravaPipelineError, UnreadableFile
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.states import UploadState
from strava_pipeline.warehouse.upload_files import (
    RESERVE_BYTES,
    UploadFiles,
    UploadLost,
    open_upload_files,
    tidy_uploads,
)
from strava_pipeline.warehouse.uploads import rows
from strava_pipeline.warehouse.uploads.rows import FileToUpload, Upload
from webhook_bridge.current import current_bridge
from webhook_bridge.handed_in import have_imported, look_at
from webhook_bridge.upload_doors import Door, check_still_open
from webhook_bridge.upload_tickets import PART_BYTES, Ticket

log = get_logger(__name__)

# To look at a whole file takes seconds, and memory: more of them at once would hold the threads that webhooks need.
_LOOK = threading.Lock()


class UploadProblem(StravaPipelineError):
    """An upload cannot go on like this; ``offset``: where it stands, in bytes, if the sender should go on there."""

    def __init__(self, status: HTTPStatus, text: str, offset: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.offset = offset


@dataclass(frozen=True)
class Standing:
    """How much of an upload is stored, in bytes, and the ticket for its next part; ``None``: it is whole."""

    upload: int
    offset: int
    ticket: str | None


def begin(door: Door, file: FileToUpload) -> Standing:
    """Begin an upload, or take up that of the same file, and give the ticket for its next part.

    ``UploadProblem`` if the file is too large, has no room, or another one is on its way.
    """
    bridge = current_bridge()
    most = bridge.settings.upload_max_bytes
    if file.size_bytes > most:
        text = f"The file is larger than {bridge.settings.upload_max_gib:g} GiB, the most that is taken here."
        raise UploadProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
    files = _files()
    _tidy()
    with bridge.engine.begin() as connection:
        upload = rows.open_upload(connection, door.athlete_id, file)
        _check_room(connection, files)
    return _standing(upload, upload.received_bytes, door.link_id)


def store_part(ticket: Ticket, body: BinaryIO, length: int) -> Standing:
    """Store a part of so many bytes at the ticket's place, and give the next ticket.

    ``UploadProblem`` with status 409 and the right place if it is another one.
    """
    files = _files()
    lost: UploadLost | None = None
    with current_bridge().engine.begin() as connection:
        upload = _open(connection, ticket.upload_id)
        check_still_open(connection, upload.athlete_id, ticket.link_id)
        if ticket.offset != upload.received_bytes:
            raise _elsewhere(upload.received_bytes)
        if not 0 < length <= min(PART_BYTES, upload.left_bytes):
            raise UploadProblem(HTTPStatus.BAD_REQUEST, "The part is empty, or longer than the rest of the file.")
        try:
            files.write(upload, ticket.offset, body)
        except UploadLost as error:
            lost = error
            rows.note_received(connection, upload.id, error.has_bytes)
        else:
            rows.note_received(connection, upload.id, ticket.offset + length)
            _check_room(connection, files)
    if lost is not None:
        raise _elsewhere(lost.has_bytes)
    return _standing(upload, ticket.offset + length, ticket.link_id)


def finish(door: Door, upload_id: int, *, is_trusted: bool = False) -> str:
    """Hand a whole upload in, and return what to tell about it. To do so again changes nothing.

    ``is_trusted``: an archive that names no athlete is this one's, which only the operator may say.
    ``UploadProblem`` if a part of it is missing, if another file is looked at just now, or if it cannot be imported:
    then it is deleted.
    """
    with current_bridge().engine.begin() as connection:
        upload = rows.load_upload(connection, upload_id)
    if upload is None or upload.athlete_id != door.athlete_id:
        raise _gone()
    if upload.left_bytes:
        raise _elsewhere(upload.received_bytes)
    if upload.state is UploadState.OPEN:
        if not _LOOK.acquire(blocking=False):
            text = "Another file is looked at just now. Try again in a few seconds."
            raise UploadProblem(HTTPStatus.SERVICE_UNAVAILABLE, text)
        try:
            _hand_in(upload, door, is_trusted=is_trusted and door.link_id is None)
        finally:
            _LOOK.release()
    current_bridge().wake_dagster_tasks()
    return f"{upload.name} is here. It is imported now, the newest month first. You may close this page."


def cancel(door: Door, upload_id: int) -> bool:
    """Delete an upload that is not whole; return whether it was there."""
    with current_bridge().engine.begin() as connection:
        upload = rows.load_upload(connection, upload_id)
        if upload is None or upload.athlete_id != door.athlete_id or upload.state is not UploadState.OPEN:
            return False
        rows.delete_upload(connection, upload.id)
    _files().delete(upload.athlete_id, upload.id)
    return True


def _hand_in(upload: Upload, door: Door, *, is_trusted: bool) -> None:
    """Look at a whole upload, and have it imported; of two bridges that do so at once, one finds it gone."""
    engine = current_bridge().engine
    try:
        place = _files().finish(upload)
        content = look_at(place, upload.athlete_id, is_trusted=is_trusted)
        with engine.begin() as connection:
            _open(connection, upload.id)
            import_id = have_imported(connection, upload, place, content, is_trusted=is_trusted)
            rows.note_handed_in(connection, upload.id, import_id)
            actor = Actor.OPERATOR if door.link_id is None else Actor.ATHLETE
            told = f"archive import {import_id}{', trusted' if is_trusted else ''}"
            note_action(connection, actor, "upload", f"athlete {upload.athlete_id}", detail=told)
    except UploadLost as error:
        with engine.begin() as connection:
            rows.note_received(connection, upload.id, error.has_bytes)
        raise _elsewhere(error.has_bytes) from None
    except (UnreadableFile, AlreadyImported, ArchiveImportRunning) as error:
        # To go on with it would help nobody.
        cancel(door, upload.id)
        raise UploadProblem(HTTPStatus.BAD_REQUEST, str(error)) from None
    log.info("an upload of athlete %d is handed in as archive import %d", upload.athlete_id, import_id)


def _open(connection: Connection, upload_id: int) -> Upload:
    upload = rows.load_upload(connection, upload_id)
    if upload is None or upload.state is not UploadState.OPEN:
        raise _gone()
    return upload


def _standing(upload: Upload, offset: int, link_id: int | None) -> Standing:
    if offset >= upload.size_bytes:
        return Standing(upload.id, offset, None)
    return Standing(upload.id, offset, current_bridge().tickets.give(Ticket(upload.id, offset, link_id)))


def _check_room(connection: Connection, files: UploadFiles) -> None:
    """Raise ``UploadProblem`` if what is still to come, of all uploads, has no room."""
    free = files.free_bytes()
    if free is not None and free < rows.bytes_to_come(connection) + RESERVE_BYTES:
        log.warning("an upload is refused: %d bytes are free where uploads lie", free)
        raise UploadProblem(HTTPStatus.INSUFFICIENT_STORAGE, "There is not enough room here. Tell the operator.")


def _files() -> UploadFiles:
    return open_upload_files(current_bridge().settings.uploads_to_write())


def _tidy() -> None:
    """Make room; what cannot be deleted now is, at the latest, next night."""
    bridge = current_bridge()
    try:
        tidy_uploads(bridge.engine, bridge.settings.uploads_to_write())
    except StravaPipelineError as error:
        log.warning("uploads that are not needed any more are not all deleted: %s", error)


def _elsewhere(offset: int) -> UploadProblem:
    return UploadProblem(HTTPStatus.CONFLICT, f"The file stands at byte {offset:,}: go on there.", offset)


def _gone() -> UploadProblem:
    return UploadProblem(HTTPStatus.NOT_FOUND, "This upload was canceled, or is too old. Begin again.")
