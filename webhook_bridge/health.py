"""``/health/live`` says whether the bridge should be restarted, ``/health/ready`` whether it can take events."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.redaction import get_logger
from webhook_bridge.background_reading import Reading
from webhook_bridge.current import Bridge, current_bridge
from webhook_bridge.request_ids import current_request_id

log = get_logger(__name__)

MINUTE = timedelta(minutes=1)
LONGEST_DUE = 10 * MINUTE
UNREAD = "it was not read within the last minute"

health = Blueprint("health", __name__, url_prefix="/health")


@health.get("/live")
def live() -> Response | tuple[Response, int]:
    """Answer 200, or 503 once a thread that the bridge needs has ended: a restart brings it back."""
    if ended := _ended_threads(current_bridge()):
        return Response(f"ended: {', '.join(ended)}\n", mimetype="text/plain"), HTTPStatus.SERVICE_UNAVAILABLE
    return Response("ok\n", mimetype="text/plain")


@health.get("/ready")
def ready() -> Response | tuple[Response, int]:
    """Answer 200 if the database stores what it is given, 503 otherwise.

    The JSON tells of each part whether it is ``ok``, or else ``warn`` and why. Other parts than the database change no
    status: events are taken and wait in the inbox, whatever becomes of the dispatcher and of Dagster.
    """
    bridge = current_bridge()
    try:
        bridge.write_probe.check()
    except (DatabaseUnavailable, PoolTimeout) as error:
        log.error("%s", error)  # noqa: TRY400  one line says all
        parts = {"database": _part("it does not store what it is given"), **_parts(bridge)}
        return jsonify(ready=False, id=current_request_id(), **parts), HTTPStatus.SERVICE_UNAVAILABLE
    return jsonify(ready=True, database=_part(None), **_parts(bridge))


def _parts(bridge: Bridge) -> dict[str, dict[str, str]]:
    """The parts besides the database, as they were last read in the background: nobody waits for them here."""
    ended = ", ".join(_ended_threads(bridge))
    return {
        "dispatcher": _part(f"ended: {ended}" if ended else None),
        "inbox": _part(_trouble_of_inbox(bridge.reading.last)),
        "dagster": _part(_trouble_of_dagster(bridge.reading.last)),
    }


def _trouble_of_inbox(reading: Reading | None) -> str | None:
    if reading is None or reading.tables is None or not reading.is_fresh():
        return UNREAD
    if reading.tables.longest_due < LONGEST_DUE:
        return None
    return f"an event has been due for more than {LONGEST_DUE // MINUTE} minutes"


def _trouble_of_dagster(reading: Reading | None) -> str | None:
    if reading is None or not reading.is_fresh():
        return UNREAD
    return "it does not answer" if reading.queued_runs is None else None


def _part(reason: str | None) -> dict[str, str]:
    return {"state": "ok"} if reason is None else {"state": "warn", "reason": reason}


def _ended_threads(bridge: Bridge) -> list[str]:
    return [thread.name for thread in bridge.threads if thread.has_ended]
