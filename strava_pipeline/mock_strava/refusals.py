"""Strava's error answers: the status and the fault body of each."""

from __future__ import annotations

from http import HTTPStatus

from strava_pipeline.mock_strava.shapes import JsonObject


class Refused(Exception):
    """The error answer of a call; ``body`` is Strava's fault body."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(body["message"])
        self.status = status
        self.body = body


def fault(message: str, *errors: tuple[str, str, str]) -> JsonObject:
    """Return a fault body; each error consists of resource, field and code."""
    return {
        "message": message,
        "errors": [{"resource": resource, "field": field, "code": code} for resource, field, code in errors],
    }


def bad_request(resource: str, field: str, code: str) -> Refused:
    """Return a 400: a field of the request is invalid."""
    return Refused(HTTPStatus.BAD_REQUEST, fault("Bad Request", (resource, field, code)))


def unauthorized(resource: str, field: str, code: str) -> Refused:
    """Return a 401: the token or the app's credentials are invalid."""
    return Refused(HTTPStatus.UNAUTHORIZED, fault("Authorization Error", (resource, field, code)))


def scope_missing(field: str) -> Refused:
    """Return a 401: the athlete did not grant this scope."""
    return unauthorized("AccessToken", field, "missing")


def not_found(resource: str) -> Refused:
    """Return a 404: the object does not exist, or belongs to another athlete."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Resource Not Found", (resource, "", "not found")))


def no_streams() -> Refused:
    """Return a 404: this activity has no streams."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Resource Not Found"))


def no_such_path() -> Refused:
    """Return a 404: Strava has no such endpoint."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Record Not Found", ("resource", "path", "invalid")))


def over_limit(which: str) -> Refused:
    """Return a 429; ``which`` limit was exceeded: ``read`` or ``overall``."""
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS, fault("Rate Limit Exceeded", ("Application", f"{which} rate limit", "exceeded"))
    )


def token_invalid() -> Refused:
    """Return a 401: the token is missing, unknown or expired."""
    return unauthorized("Athlete", "access_token", "invalid")


def client_invalid() -> Refused:
    """Return a 400: the client id is missing or wrong."""
    return bad_request("Application", "client_id", "invalid")


def secret_invalid() -> Refused:
    """Return a 401: the client secret does not belong to the client id."""
    return unauthorized("Application", "", "invalid")
