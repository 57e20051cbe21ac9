"""The effect of each kind of fault on an answer."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from flask import Response

from strava_pipeline.mock_strava import refusals
from strava_pipeline.mock_strava.fault_scripts import REPLACING, FaultScript, Kind
from strava_pipeline.mock_strava.limits import GARBLED_HEADERS, RATE_HEADERS, mark_exhausted
from strava_pipeline.mock_strava.wire import WireResponse

CHUNK_BYTES = 2**20
PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
MAINTENANCE = "Strava is temporarily unavailable"
# Strava's bodies for these statuses; a gateway's answers have HTML pages.
FAULT_BODIES: dict[int, Any] = {
    HTTPStatus.BAD_REQUEST: refusals.bad_request("Application", "", "invalid").body,
    HTTPStatus.UNAUTHORIZED: refusals.token_invalid().body,
    HTTPStatus.FORBIDDEN: refusals.fault("Forbidden"),
    HTTPStatus.NOT_FOUND: refusals.not_found("Activity").body,
    HTTPStatus.INTERNAL_SERVER_ERROR: {"message": "error"},
}
_NUMBER = re.compile(rb"(?<=[:\[,])\s*-?[0-9]+(?:\.[0-9]+)?(?=[,}\]])")


def apply_fault(script: FaultScript, response: Response) -> Response:
    """Return the answer with a fault applied."""
    if script.fault in REPLACING:
        response.status_code = script.answer_status
    _EFFECTS.get(script.fault, _keep)(script, response)
    for name, value in script.headers.items():
        if value is None:
            response.headers.pop(name, None)
        else:
            response.headers[name] = value
    undated = "Date" not in response.headers
    return WireResponse.of(response, script) if undated or script.fault in _ON_THE_WIRE else response


def _status(script: FaultScript, response: Response) -> None:
    status = script.answer_status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        which, _, window = script.limit.partition("_")
        body: Any = refusals.over_limit(which).body
        mark_exhausted(response.headers, which, window)
    else:
        body = FAULT_BODIES.get(status)
    if script.body is not None:
        body = script.body
    if body is None:
        _page(response, MAINTENANCE)
    elif isinstance(body, str):
        response.set_data(body)
    else:
        _json(response, body)


def _retry_after(script: FaultScript, response: Response) -> None:
    _status(script, response)
    response.headers["Retry-After"] = str(script.seconds)


def _app_inactive(_: FaultScript, response: Response) -> None:
    response.status_code = HTTPStatus.FORBIDDEN
    _json(response, refusals.fault("Forbidden", ("Application", "Status", "Inactive")))


def _html(_: FaultScript, response: Response) -> None:
    _page(response, MAINTENANCE)


def _empty(_: FaultScript, response: Response) -> None:
    response.set_data(b"")


def _redirect(script: FaultScript, response: Response) -> None:
    response.headers["Location"] = script.location
    _page(response, "Moved")


def _gzip_bomb(script: FaultScript, response: Response) -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = b"".join(packer.compress(chunk) for chunk in _blanks(script.size)) + packer.flush()
    response.set_data(packed)
    response.headers["Content-Encoding"] = "gzip"
    response.mimetype = "application/json"


def _huge(script: FaultScript, response: Response) -> None:
    response.response = _blanks(script.size)
    response.content_length = script.size
    response.mimetype = "application/json"


def _truncated(_: FaultScript, response: Response) -> None:
    body = response.get_data()
    response.set_data(body[: len(body) // 2])


def _wrong_type(_: FaultScript, response: Response) -> None:
    body = response.get_json(silent=True)
    _json(response, {"data": body} if isinstance(body, list) else [body])


def _bad_utf8(_: FaultScript, response: Response) -> None:
    """Put a byte that is invalid in UTF-8 into the first text."""
    body = response.get_data()
    response.set_data(body.replace(b'"', b'"\xff', 1) if b'"' in body else b'"\xff"')


def _nan(_: FaultScript, response: Response) -> None:
    """Replace the first number by NaN, or the whole body if there is none."""
    body, replaced = _NUMBER.subn(b"NaN", response.get_data(), count=1)
    response.set_data(body if replaced else b"NaN")


def _no_rate_headers(_: FaultScript, response: Response) -> None:
    for name in RATE_HEADERS:
        response.headers.pop(name, None)


def _garbled_rate_headers(_: FaultScript, response: Response) -> None:
    response.headers.update(GARBLED_HEADERS)


def _keep(_: FaultScript, __: Response) -> None:
    """Keep the answer, for faults of the connection and for delays."""


def _json(response: Response, body: Any) -> None:
    response.set_data(json.dumps(body, separators=(",", ":"), ensure_ascii=False) + "\n")
    response.mimetype = "application/json"


def _page(response: Response, title: str) -> None:
    response.set_data(PAGE.format(title))
    response.mimetype = "text/html"


def _blanks(size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes of JSON: blanks and an empty list at the end."""
    blanks = b" " * CHUNK_BYTES
    left = size
    while left > CHUNK_BYTES:
        yield blanks
        left -= CHUNK_BYTES
    yield b"[]".rjust(left)[:left]


_ON_THE_WIRE = frozenset({Kind.DRIP, Kind.CUT, Kind.HANG, Kind.RESET, Kind.REPLY_LOST})
_EFFECTS: dict[Kind, Callable[[FaultScript, Response], None]] = {
    Kind.STATUS: _status,
    Kind.RETRY_AFTER: _retry_after,
    Kind.APP_INACTIVE: _app_inactive,
    Kind.HTML: _html,
    Kind.EMPTY: _empty,
    Kind.REDIRECT: _redirect,
    Kind.GZIP_BOMB: _gzip_bomb,
    Kind.HUGE: _huge,
    Kind.TRUNCATED: _truncated,
    Kind.WRONG_TYPE: _wrong_type,
    Kind.BAD_UTF8: _bad_utf8,
    Kind.NAN: _nan,
    Kind.NO_RATE_HEADERS: _no_rate_headers,
    Kind.GARBLED_RATE_HEADERS: _garbled_rate_headers,
}
