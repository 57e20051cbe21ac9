"""Which answer of Strava means which error; this module alone decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from strava_pipeline.errors import (
    AppInactive,
    Fault,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.printable import printable

_QUOTED_LENGTH = 200


def parse_fault(body: bytes) -> Fault:
    """Strava's fault body; HTML, nothing, or the wrong types give an empty fault, never an error."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return Fault()
    if not isinstance(parsed, dict):
        return Fault()
    errors = parsed.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return Fault(
        message=_text(parsed.get("message")),
        resource=_text(first.get("resource")),
        field=_text(first.get("field")),
        code=_text(first.get("code")),
    )


def error_for(what: str, status: int, body: bytes, *, retry_after: timedelta | None = None) -> StravaError:
    """The typed error of an answer that is not a success; ``what`` says what was asked for, in words."""
    fault = parse_fault(body)
    told = f"{what}: Strava answered {status} {fault}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        # The ledger knows better until when; this is the least anyone has to wait.
        retry_at = datetime.now(UTC) + (retry_after or timedelta(seconds=60))
        return QuotaExhausted(told, retry_at=retry_at, status=status, fault=fault)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RetriableStravaError(told, status=status, fault=fault)
    return _CLIENT_FAULTS.get(status, _rejected)(told, status, fault)


def _unauthorized(told: str, status: int, fault: Fault) -> StravaError:
    if fault.code == "missing":
        return MissingScope(f"{told}: connect again and allow it", status=status, fault=fault)
    return NeedsReauthorization(f"{told}: the athlete must connect again", status=status, fault=fault)


def is_app_inactive(status: int, fault: Fault) -> bool:
    """Whether Strava says that the whole application is switched off."""
    named = (fault.resource, fault.field.lower(), fault.code.lower())
    return status == HTTPStatus.FORBIDDEN and named == ("Application", "status", "inactive")


def _forbidden(told: str, status: int, fault: Fault) -> StravaError:
    if is_app_inactive(status, fault):
        hint = "the app is switched off: its owner needs a Strava subscription"
        return AppInactive(f"{told}: {hint}", status=status, fault=fault)
    if fault.code == "missing":
        return MissingScope(f"{told}: connect again and allow it", status=status, fault=fault)
    return _rejected(told, status, fault)


def _not_found(told: str, status: int, fault: Fault) -> StravaError:
    return NotFound(told, status=status, fault=fault)


def _rejected(told: str, status: int, fault: Fault) -> StravaError:
    return RejectedRequest(told, status=status, fault=fault)


_CLIENT_FAULTS: dict[int, Callable[[str, int, Fault], StravaError]] = {
    HTTPStatus.UNAUTHORIZED: _unauthorized,
    HTTPStatus.FORBIDDEN: _forbidden,
    HTTPStatus.NOT_FOUND: _not_found,
}


def _text(value: object) -> str:
    """As it may end in logs and on terminals."""
    return printable(value, _QUOTED_LENGTH) if isinstance(value, str) else ""
