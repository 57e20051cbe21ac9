"""One HTTP exchange with Strava: deadline, size cap, redirects not followed, and network faults as typed errors."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import requests
from urllib3 import Timeout
from urllib3.exceptions import ReadTimeoutError

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.http_session import HttpSession
from strava_pipeline.proxies import UNUSABLE, through
from strava_pipeline.strava.deadline import DeadlineAdapter

CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 30.0
# Of the unpacked body, since a small packed body can unpack to any size. A day of riding is under 4 MiB.
BODY_CAP_BYTES = 32 * 1024 * 1024
# A float holds at most 1.8e308; only a number written like these can be larger.
_MAY_OVERFLOW = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{300}")
# Six digits of seconds are eleven days; no longer wait is plausible.
_RETRY_AFTER = re.compile(r"\s*([0-9]{1,6})\s*")
# The words of http.client, with the proxy's status.
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})")
_CHUNK_BYTES = 64 * 1024
# A clock that shows another year is broken; near the first and the last possible year, a margin would overflow.
_PLAUSIBLE_YEARS = range(2000, 3000)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, headers (any letter case), whole body, and the duration of the exchange in ms."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: float

    @property
    def server_time(self) -> datetime | None:
        """The ``Date`` header (UTC, whole seconds); ``None`` if it is missing, garbled or implausible."""
        try:
            told = parsedate_to_datetime(self.headers["Date"])
        except (KeyError, ValueError, OverflowError):
            return None
        return told.astimezone(UTC) if told.tzinfo and told.year in _PLAUSIBLE_YEARS else None

    @property
    def retry_after(self) -> timedelta | None:
        """``Retry-After`` if it gives whole seconds, else ``None``; Strava has not been seen to send this header."""
        match = _RETRY_AFTER.fullmatch(self.headers.get("Retry-After", ""))
        return timedelta(seconds=int(match[1])) if match else None


def new_session(ca_bundle: Path | None = None) -> HttpSession:
    """Return a session that keeps connections open and applies deadlines; it serves many athletes, so no cookies.

    ``ca_bundle``: a file of authorities whose certificates are trusted as well.
    """
    return HttpSession(DeadlineAdapter(ca_bundle))


def send(
    session: requests.Session,
    method: str,
    url: str,
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    deadline_s: float | None = None,
) -> Answer:
    """Send one request in a session of :func:`new_session` and return the answer.

    The exchange takes at most ``deadline_s`` (or ``DEADLINE_SECONDS``). ``RetriableStravaError`` if the network fails
    or the body is too large; messages never contain the URL's query.
    """
    started = time.monotonic()
    try:
        with session.request(
            method,
            url,
            headers=headers,
            params=query,
            data=form,
            timeout=Timeout(connect=CONNECT_SECONDS, total=deadline_s or DEADLINE_SECONDS),  # type: ignore[arg-type]  # requests passes it on
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _read(response, what)
    except requests.RequestException as error:
        told = f"{what}: Strava cannot be reached: {_reason(error)}{through(url)}"
        raise RetriableStravaError(told, answered=False) from None
    return Answer(response.status_code, response.headers, body, (time.monotonic() - started) * 1000)


def parse_json(body: bytes) -> Any:
    """Return the parsed body; ``ValueError`` if it is cut off, HTML, or otherwise not JSON."""
    # Checking every number takes longer than all other parsing, so numbers are checked only where one may overflow.
    checks: dict[str, Any] = {"parse_float": _finite} if _MAY_OVERFLOW.search(body) else {}
    try:
        return json.loads(body, parse_constant=_refuse, **checks)
    except RecursionError:
        raise ValueError from None


def _refuse(_: str) -> NoReturn:
    # Python accepts NaN and Infinity, but they are not JSON, and Postgres refuses them.
    raise ValueError


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError
    return value


def _read(response: requests.Response, what: str) -> bytes:
    parts, size = [], 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > BODY_CAP_BYTES:
            raise RetriableStravaError(
                f"{what}: Strava's answer is larger than {BODY_CAP_BYTES} bytes",
                status=response.status_code,
                answered=False,
            )
        parts.append(chunk)
    return b"".join(parts)


def _reason(error: requests.RequestException) -> str:
    """What failed, in words. Messages of requests contain the query, and so secrets: they are not used."""
    if isinstance(error, requests.exceptions.ProxyError):
        return _refusal(error)
    if isinstance(error, requests.exceptions.InvalidProxyURL):
        return UNUSABLE
    return _fault_on_the_way(error)


def _fault_on_the_way(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "the TLS certificate is not valid"
        case requests.exceptions.ReadTimeout():
            return "no whole answer in time"
        case requests.exceptions.ConnectionError() if any(isinstance(arg, ReadTimeoutError) for arg in error.args):
            # requests raises this error for a body that does not end in time.
            return "no whole answer in time"
        case requests.exceptions.ConnectionError():
            return "no connection"
        case requests.exceptions.ChunkedEncodingError():
            return "the answer was cut"
        case _:
            return type(error).__name__


def _refusal(error: requests.exceptions.ProxyError) -> str:
    """Why a proxy does not lead to Strava. What it says beside its status is not used: it may be anything."""
    refused = _TUNNEL_REFUSED.search(str(error))
    if refused is None:
        return "no connection to the proxy"
    if int(refused[1]) == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "the proxy asks for another login (407)"
    return f"the proxy lets nothing pass to it ({refused[1]})"
