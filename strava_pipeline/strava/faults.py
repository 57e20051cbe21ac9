"""Decides which error an answer of Strava's means, by its status and its fault body.

Callers may narrow an error for their own request: a refused code or token (:mod:`.oauth`), a 404 for statistics, which
means none (:mod:`.client`), a 404 for an activity that a webhook announced (:mod:`strava_pipeline.sync.webhook`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from strava_pipeline.errors import (
    AppInactive,
    FaultDetail,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
    StravaFault,
)
from strava_pipeline.printable import printable

_QUOTED_LENGTH = 200


def parse_fault(body: bytes) -> StravaFault:
    """Return the fault in an answer's body; HTML, an empty body, or wrong types give an empty fault, never an error."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return StravaFault()
    if not isinstance(parsed, dict):
        return StravaFault()
    errors = parsed.get("errors")
    details = map(_detail, errors) if isinstance(errors, list) else ()
    return StravaFault(_text(parsed.get("message")), tuple(detail for detail in details if detail != FaultDetail()))


def _detail(error: object) -> FaultDetail:
    told = error if isinstance(error, dict) else {}
    return FaultDetail(*(_text(told.get(name)) for name in ("resource", "field", "code")))


def error_for(what: str, status: int, body: bytes, *, retry_after: timedelta | None = None) -> StravaError:
    """Return the typed error for an answer that is not a success; ``what`` describes the request in words."""
    fault = parse_fault(body)
    told = f"{what}: Strava answered {status} {fault}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        # An estimate: the ledger, which blocks the window, knows its end better.
        retry_at = datetime.now(UTC) + (retry_after or timedelta(seconds=60))
        return QuotaExhausted(told, retry_at=retry_at, status=status, fault=fault)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RetriableStravaError(told, status=status, fault=fault)
    return _CLIENT_FAULTS.get(status, _rejected)(told, status, fault)


def _unauthorized(told: str, status: int, fault: StravaFault) -> StravaError:
    if lacks_permission(fault):
        return MissingScope(f"{told}: connect again and allow it", status=status, fault=fault)
    return NeedsReauthorization(f"{told}: the athlete must connect again", status=status, fault=fault)


def is_app_inactive(status: int, fault: StravaFault) -> bool:
    """Whether Strava says that the whole app is switched off."""
    named = [(error.resource, error.field.lower(), error.code.lower()) for error in fault.errors]
    return status == HTTPStatus.FORBIDDEN and ("Application", "status", "inactive") in named


def lacks_permission(fault: StravaFault) -> bool:
    """Whether every error of the fault is a missing permission: then another token does not help."""
    return bool(fault.errors) and all(error.code == "missing" for error in fault.errors)


def names_rate_limit(fault: StravaFault) -> bool:
    """Whether Strava says which of its limits is used up."""
    return any("rate limit" in error.field for error in fault.errors)


def is_dead_grant(fault: StravaFault) -> bool:
    """Whether the token endpoint refuses the refresh token and nothing else: a refused client proves nothing."""
    return bool(fault.errors) and all(
        (error.resource, error.code) == ("RefreshToken", "invalid") for error in fault.errors
    )


def is_dead_code(fault: StravaFault) -> bool:
    """Whether the token endpoint refuses the authorization code."""
    return any(error.field == "code" or error.resource == "AuthorizationCode" for error in fault.errors)


def _forbidden(told: str, status: int, fault: StravaFault) -> StravaError:
    if is_app_inactive(status, fault):
        hint = "the app is switched off: its owner needs a Strava subscription"
        return AppInactive(f"{told}: {hint}", status=status, fault=fault)
    if lacks_permission(fault):
        return MissingScope(f"{told}: connect again and allow it", status=status, fault=fault)
    return _rejected(told, status, fault)


def _not_found(told: str, status: int, fault: StravaFault) -> StravaError:
    return NotFound(told, status=status, fault=fault)


def _rejected(told: str, status: int, fault: StravaFault) -> StravaError:
    return RejectedRequest(told, status=status, fault=fault)


_CLIENT_FAULTS: dict[int, Callable[[str, int, StravaFault], StravaError]] = {
    HTTPStatus.UNAUTHORIZED: _unauthorized,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _not_found,
}


def _text(value: object) -> str:
    """The text, made fit for logs and terminals; empty for any other value."""
    return printable(value, _QUOTED_LENGTH) if isinstance(value, str) else ""
