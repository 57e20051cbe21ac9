"""Blueprint: what the script of the upload pages asks for. Answers are JSON; an error is one sentence for people.

A part needs no form's token: its ticket was given to a page of ours, and no other site can send one along.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from http import HTTPStatus
from typing import BinaryIO, Final

from flask import Blueprint, Response, jsonify, request, url_for
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException

from strava_pipeline.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ErasureUnderWay,
    NeedsReauthorization,
    StravaPipelineError,
    WarehouseError,
)
from strava_pipeline.log_context import add_log_ids
from strava_pipeline.printable import printable
from strava_pipeline.redaction import SecretPath, get_logger
from strava_pipeline.warehouse.upload_files import PIECE_BYTES
from strava_pipeline.warehouse.uploads.rows import AnotherUpload, FileToUpload, TooManyUploads
from webhook_bridge import uploading
from webhook_bridge.current import current_bridge
from webhook_bridge.operator_login import operator_gate, require_token
from webhook_bridge.upload_doors import Door, door_of_link
from webhook_bridge.upload_tickets import PART_BYTES, PARTS_PATH, TICKET_HEADER
from webhook_bridge.uploading import Standing, UploadProblem

log = get_logger(__name__)

CHECKSUM_HEADER = "Upload-Checksum"
LONGEST_NAME = 200
# Digits; every number with so many fits into a BIGINT.
LONGEST_NUMBER = 18
ATHLETE: Final = "<int(max=9223372036854775807):athlete_id>"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STATUS: Final = {
    AnotherUpload: HTTPStatus.CONFLICT,
    TooManyUploads: HTTPStatus.SERVICE_UNAVAILABLE,
    ErasureUnderWay: HTTPStatus.SERVICE_UNAVAILABLE,
    NeedsReauthorization: HTTPStatus.FORBIDDEN,
}

upload_api = Blueprint("upload_api", __name__)


@upload_api.before_request
def _need_a_token() -> None:
    require_token()


@upload_api.post(f"/athletes/{ATHLETE}/archive/begin")
def begin_by_operator(athlete_id: int) -> Response:
    """Begin or go on, on the operator's page."""
    return _begin(_operators_door(athlete_id))


@upload_api.post(f"{SecretPath.UPLOAD}/<link>/begin")
def begin_by_link(link: str) -> Response:
    """Begin or go on, on an athlete's page."""
    return _begin(door_of_link(link))


@upload_api.post(f"/athletes/{ATHLETE}/archive/finish")
def finish_by_operator(athlete_id: int) -> Response:
    """Hand in what the operator has uploaded."""
    return _finish(_operators_door(athlete_id))


@upload_api.post(f"{SecretPath.UPLOAD}/<link>/finish")
def finish_by_link(link: str) -> Response:
    """Hand in what an athlete has uploaded."""
    return _finish(door_of_link(link))


@upload_api.post(f"/athletes/{ATHLETE}/archive/cancel")
def cancel_by_operator(athlete_id: int) -> Response:
    """Cancel an upload, on the operator's page."""
    return _cancel(_operators_door(athlete_id))


@upload_api.post(f"{SecretPath.UPLOAD}/<link>/cancel")
def cancel_by_link(link: str) -> Response:
    """Cancel an upload, on an athlete's page."""
    return _cancel(door_of_link(link))


@upload_api.put(f"{PARTS_PATH}/<int(max=9223372036854775807):upload_id>")
def put_part(upload_id: int) -> Response:
    """Store a part of an upload; 409 with the place to go on if it is another one.

    The server has let it pass by its head (:mod:`webhook_bridge.upload_tickets`), and the ticket may have ended since.
    """
    ticket = current_bridge().tickets.read(request.headers.get(TICKET_HEADER, ""))
    if ticket is None or ticket.upload_id != upload_id:
        raise Forbidden("This part has no ticket.")
    length = request.content_length or 0
    if length > PART_BYTES:
        raise UploadProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A part has at most {PART_BYTES:,} bytes.")
    # Not by Flask, which has the cap of all other requests.
    body: BinaryIO = request.environ["wsgi.input"]
    told = request.headers.get(CHECKSUM_HEADER, "")
    if not hmac.compare_digest(_digest(body, length).encode(), told.encode()):
        raise UploadProblem(HTTPStatus.UNPROCESSABLE_ENTITY, "A part was damaged on its way.", ticket.offset)
    body.seek(0)
    return _told(uploading.store_part(ticket, body, length))


def _digest(body: BinaryIO, length: int) -> str:
    """The SHA-256 of a part, in hex. ``BadRequest`` if it is not whole."""
    digest, left = hashlib.sha256(), length
    while piece := body.read(min(left, PIECE_BYTES)):
        digest.update(piece)
        left -= len(piece)
    if left:
        raise BadRequest("The part is not whole.")
    return digest.hexdigest()


def _operators_door(athlete_id: int) -> Door:
    if operator_gate() is not None:
        raise Forbidden("You are not logged in any more: load the page again.")
    return Door(athlete_id)


def _begin(door: Door) -> Response:
    add_log_ids(athlete_id=door.athlete_id)
    size, ends = _number("size"), request.form.get("ends", "")
    name = printable(request.form.get("name", ""), LONGEST_NAME).strip()
    if not name or size == 0 or not _SHA256.fullmatch(ends):
        raise BadRequest("Choose a file that is not empty.")
    return _told(uploading.begin(door, FileToUpload(name, size, ends)))


def _finish(door: Door) -> Response:
    add_log_ids(athlete_id=door.athlete_id)
    is_trusted = request.form.get("trust") == "yes"
    return jsonify(told=uploading.finish(door, _number("upload"), is_trusted=is_trusted))


def _cancel(door: Door) -> Response:
    add_log_ids(athlete_id=door.athlete_id)
    found = uploading.cancel(door, _number("upload"))
    return jsonify(
        told="The upload is canceled, and what was here of it is deleted." if found else "It was gone before."
    )


def _number(field: str) -> int:
    given = request.form.get(field, "")
    if not given.isascii() or not given.isdecimal() or len(given) > LONGEST_NUMBER:
        raise BadRequest(f"The field {field} is no number.")
    return int(given)


def _told(standing: Standing) -> Response:
    return jsonify(
        upload=standing.upload,
        offset=standing.offset,
        ticket=standing.ticket,
        part_bytes=PART_BYTES,
        parts=url_for("upload_api.put_part", upload_id=standing.upload),
    )


@upload_api.errorhandler(UploadProblem)
def _problem(error: UploadProblem) -> tuple[Response, int]:
    return jsonify(error=str(error), offset=error.offset), error.status


@upload_api.errorhandler(StravaPipelineError)
def _refused(error: StravaPipelineError) -> tuple[Response, int]:
    log.warning("an upload is refused: %s", error)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None)
    if status is None and isinstance(error, WarehouseError):
        # A storage's own words name paths and addresses here.
        return jsonify(error="Files cannot be stored here just now. Tell the operator."), HTTPStatus.SERVICE_UNAVAILABLE
    return jsonify(error=str(error)), status or HTTPStatus.BAD_REQUEST


@upload_api.errorhandler(DatabaseUnavailable)
@upload_api.errorhandler(PoolTimeout)
def _database_unavailable(error: Exception) -> tuple[Response, int]:
    log.error("%s", error)
    return jsonify(error="The database does not answer."), HTTPStatus.SERVICE_UNAVAILABLE


@upload_api.errorhandler(ConfigurationError)
def _wrong_setting(error: ConfigurationError) -> tuple[Response, int]:
    log.error("%s", error)
    return jsonify(
        error="A setting is wrong here. The operator finds the reason in the log."
    ), HTTPStatus.INTERNAL_SERVER_ERROR


@upload_api.errorhandler(HTTPException)
def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description or error.name), error.code or HTTPStatus.INTERNAL_SERVER_ERROR
