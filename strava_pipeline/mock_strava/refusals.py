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
    """400: this field of the request is not usable."""
    return Refused(HTTPStatus.BAD_REQUEST, fault("Bad Request", (resource, field, code)))


def unauthorized(resource: str, field: str, code: str) -> Refused:
    """401: the token or the app's credentials do not do."""
    return Refused(HTTPStatus.UNAUTHORIZED, fault("Authorization Error", (resource, field, code)))


def scope_missing(field: str) -> Refused:
    """Return a 401: the athlete did not grant this scope."""
    return unauthorized("AccessToken", field, "missing")


def not_found(resource: str) -> Refused:
    """404: there is no such thing, or it is somebody else's."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Resource Not Found", (resource, "", "not found")))


def no_streams() -> Refused:
    """404: this activity has no streams."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Resource Not Found"))


def no_such_path() -> Refused:
    """404: Strava has no such endpoint."""
    return Refused(HTTPStatus.NOT_FOUND, fault("Record Not Found", ("resource", "path", "invalid")))


def over_limit(which: str) -> Refused:
    """429; ``which`` is ``read`` or ``overall``."""
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
