"""``/health/live`` says whether the process answers, ``/health/ready`` whether the bridge can take events."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, jsonify

from webhook_bridge.current import current_bridge
from webhook_bridge.request_ids import current_request_id

health = Blueprint("health", __name__, url_prefix="/health")


@health.get("/live")
def live() -> Response:
    """Answer 200: the process is alive."""
    return Response("ok\n", mimetype="text/plain")


@health.get("/ready")
def ready() -> Response | tuple[Response, int]:
    """Answer 200 if the database stores what it is given and the dispatcher runs, 503 otherwise."""
    if not current_bridge().dispatcher_is_running():
        return jsonify(error="dispatcher ended", id=current_request_id()), HTTPStatus.SERVICE_UNAVAILABLE
    current_bridge().write_probe.check()
    return Response("ok\n", mimetype="text/plain")
