"""Decides what an answer of Strava's means: its body, or an error, by its status and its fault body.

Only a fault body in Strava's own form is Strava's word. Any other answer that is no success comes from a proxy or
gateway in between, or from a Strava that is away: it says nothing about the athlete or the activity, and passes.
Callers may narrow an error for their own request: a refused code or token (:mod:`.oauth`), a 404 for streams, which
means none (:mod:`.client`), a 404 for an activity that a webhook announced (:mod:`strava_pipeline.sync.webhook`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
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
from strava_pipeline.strava.http import Answer, parse_json
from strava_pipeline.strava.shapes import ANYTHING, Shape

_QUOTED_LENGTH = 200
_REDIRECTS = range(300, 400)
# These mean "not now", whoever says so.
_NOT_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)
# How long a used-up quota is left alone if the answer does not say.
_UNTOLD_WAIT = timedelta(seconds=60)


def read(
    what: str, answer: Answer, *, shape: Shape = ANYTHING, success: Collection[int] = (HTTPStatus.OK,)
) -> tuple[Any, StravaError | None]:
    """Return the parsed body of a success, or the typed error that an answer means.

    ``what`` describes the request in words. ``success``: the statuses of a success; a 204 among them has no body.
    ``RetriableStravaError`` with ``answered`` False is the error of all that is not Strava's: 3xx, 408, 425, 5xx, a
    status without a fault in Strava's form, and a success that is no JSON, has another shape, or holds a fault.
    """
    if answer.status == HTTPStatus.NO_CONTENT and answer.status in success:
        return None, None
    try:
        body, is_json = parse_json(answer.body), True
    except ValueError:
        body, is_json = None, False
    error = _refused(what, answer, body, success)
    if error is None and not (is_json and shape.fits(body)):
        error = _not_stravas(what, answer, f"not {shape.name}")
    return (body, None) if error is None else (None, error)


def parse_fault(body: Any) -> StravaFault | None:
    """Return the fault in a parsed body; ``None`` unless it has Strava's form.

    That is an object with a ``message`` and a list of ``errors``, which may be empty; each error is an object with a
    ``code``. Gateways also send a ``message``, but not both.
    Source: https://developers.strava.com/docs/reference/#api-models-Fault
    """
    if not isinstance(body, dict):
        return None
    message, errors = _text(body.get("message")), body.get("errors")
    if not message.strip() or not isinstance(errors, list) or not all(map(_is_error, errors)):
        return None
    details = (FaultDetail(*(_text(error.get(name)) for name in ("resource", "field", "code"))) for error in errors)
    return StravaFault(message, tuple(details))


def _is_error(error: object) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(error, dict)
        and isinstance(error.get("code"), str)
        and all(isinstance(error.get(name, ""), str | None) for name in ("resource", "field"))
    )


def _refused(what: str, answer: Answer, body: Any, success: Collection[int]) -> StravaError | None:
    """The error of an answer that is no success; ``None`` for a success that holds no fault."""
    fault, status = parse_fault(body), answer.status
    told = f"{what}: Strava answered {status} {fault or _quoted(body)}"
    if status == HTTPStatus.TOO_MANY_REQUESTS or (fault and _names_a_used_up_quota(fault)):
        # An estimate: the ledger, which blocks the window, knows its end better.
        retry_at = datetime.now(UTC) + (retry_after(answer, fault) or _UNTOLD_WAIT)
        return QuotaExhausted(told, retry_at=retry_at, status=status, fault=fault)
    if status in success:
        return RetriableStravaError(told, status=status, fault=fault, answered=False) if fault else None
    if status in _REDIRECTS:
        return _not_stravas(what, answer, f"a redirect to {_host(answer)}, which is not followed")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or (fault and status in _NOT_NOW):
        return RetriableStravaError(told, status=status, fault=fault, answered=False)
    if fault is None or status < HTTPStatus.BAD_REQUEST or status in _NOT_NOW:
        return _not_stravas(what, answer, "not Strava's")
    return _CLIENT_FAULTS.get(status, _rejected)(told, status, fault)


def _not_stravas(what: str, answer: Answer, told: str) -> RetriableStravaError:
    kind = _text(answer.headers.get("Content-Type", "").partition(";")[0]) or "no content type"
    hint = (
        "check STRAVA_API_URL and STRAVA_OAUTH_URL" if answer.status in _REDIRECTS else "a proxy or gateway in between?"
    )
    return RetriableStravaError(
        f"{what}: the answer is {told} ({answer.status}, {kind}): {hint}", status=answer.status, answered=False
    )


def _host(answer: Answer) -> str:
    """The host that a redirect leads to; never the whole address, since a query may hold a secret."""
    try:
        host = urlsplit(answer.headers.get("Location", "")).hostname
    except ValueError:
        host = None
    return _text(host) or "another page"


def _quoted(body: Any) -> StravaFault:
    """The message of a body that is no fault in Strava's form, to be shown."""
    return StravaFault(_text(body.get("message")) if isinstance(body, dict) else "")


def retry_after(answer: Answer, fault: StravaFault | None) -> timedelta | None:
    """``Retry-After`` of an answer with this fault; ``None`` if the fault is not Strava's."""
    return answer.retry_after if fault is not None and fault.is_stravas else None


def _unauthorized(told: str, status: int, fault: StravaFault) -> StravaError:
    if _lacks_permission(fault):
        return MissingScope(f"{told}: connect again and allow it", status=status, fault=fault)
    return NeedsReauthorization(f"{told}: the athlete must connect again", status=status, fault=fault)


def _is_app_inactive(fault: StravaFault) -> bool:
    """Whether Strava says that the whole app is switched off."""
    named = [(error.resource, error.field.lower(), error.code.lower()) for error in fault.errors]
    return ("Application", "status", "inactive") in named


def _lacks_permission(fault: StravaFault) -> bool:
    """Whether every error of the fault is a missing permission: then another token does not help."""
    return bool(fault.errors) and all(error.code == "missing" for error in fault.errors)


def _names_a_used_up_quota(fault: StravaFault) -> bool:
    """Whether the fault says that a limit of requests is reached, not the limit of connected athletes."""
    return any(
        error.code.lower() == "exceeded" and (_is_rate_limit(error) or "athlete" not in error.field.lower())
        for error in fault.errors
    )


def names_rate_limit(fault: StravaFault) -> bool:
    """Whether Strava says which of its limits is used up."""
    return any(map(_is_rate_limit, fault.errors))


def _is_rate_limit(error: FaultDetail) -> bool:
    return "rate limit" in error.field.lower()


def is_dead_grant(fault: StravaFault) -> bool:
    """Whether the token endpoint refuses the refresh token and nothing else: a refused client proves nothing."""
    return bool(fault.errors) and all(
        (error.resource, error.code) == ("RefreshToken", "invalid") for error in fault.errors
    )


def is_dead_code(fault: StravaFault) -> bool:
    """Whether the token endpoint refuses the authorization code."""
    return any(error.field == "code" or error.resource == "AuthorizationCode" for error in fault.errors)


def of_the_app(what: str, error: StravaError) -> StravaError:
    """Return the error of a call in the app's own name: a refused credential is the app's, and not an athlete's."""
    refused = isinstance(error, RejectedRequest) and any(
        (named.resource, named.code) == ("Application", "invalid") for named in error.fault.errors
    )
    if not (refused or isinstance(error, NeedsReauthorization)):
        return error
    told = f"{what}: Strava refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET ({error.fault})"
    return ClientRefused(told, status=error.status, fault=error.fault)


def _forbidden(told: str, status: int, fault: StravaFault) -> StravaError:
    if _is_app_inactive(fault):
        hint = "the app is switched off: its owner needs a Strava subscription"
        return AppInactive(f"{told}: {hint}", status=status, fault=fault)
    if _lacks_permission(fault):
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


def is_answered(error: StravaError | None) -> bool | None:
    """Whether Strava itself answered a call that ended with this error, or without one.

    ``None`` for a 429 in a form that is not Strava's, which may be anybody's.
    """
    if isinstance(error, QuotaExhausted):
        return True if error.fault.is_stravas else None
    return error.answered if isinstance(error, RetriableStravaError) else True


def reason_of(error: StravaError) -> str:
    """Return why Strava did not answer, without the request."""
    return (str(error).partition(": ")[2] or str(error)).removeprefix("Strava answered ")
