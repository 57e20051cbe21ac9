"""One HTTP exchange with Strava: deadline, size cap, no redirects, and faults of the wire as typed errors."""

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
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NoReturn

import requests
from urllib3 import Timeout
from urllib3.exceptions import ReadTimeoutError

from strava_pipeline.errors import RejectedRequest, RetriableStravaError
from strava_pipeline.strava.deadline import DeadlineAdapter

REDIRECTS = range(300, 400)
CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 30.0
# Unpacked: a day of riding is under 4 MiB, and a small packed body can unpack to anything.
BODY_CAP_BYTES = 32 * 1024 * 1024
# A float holds up to 1.8e308.
_MAY_OVERFLOW = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{300}")
# Six digits are eleven days.
_RETRY_AFTER = re.compile(r"\s*([0-9]{1,6})\s*")
_CHUNK_BYTES = 64 * 1024
# A clock outside is broken, and at the ends of time no margin can be added to it.
_PLAUSIBLE_YEARS = range(2000, 3000)


@dataclass(frozen=True)
class Answer:
    """Status, headers (any letter case), whole body, and how long it took in ms."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: float

    @property
    def server_time(self) -> datetime | None:
        """The ``Date`` header (UTC, whole seconds); ``None`` where it is missing or garbled."""
        try:
            told = parsedate_to_datetime(self.headers["Date"])
        except (KeyError, ValueError, OverflowError):
            return None
        return told.astimezone(UTC) if told.tzinfo and told.year in _PLAUSIBLE_YEARS else None

    @property
    def retry_after(self) -> timedelta | None:
        """``Retry-After`` in its form of whole seconds; Strava has not been seen to send any."""
        match = _RETRY_AFTER.fullmatch(self.headers.get("Retry-After", ""))
        return timedelta(seconds=int(match[1])) if match else None


def new_session() -> requests.Session:
    """A session that keeps connections and deadlines, but no cookies: it serves many athletes.

    It takes nothing from ``.netrc`` that could override our header.
    """
    session = requests.Session()
    session.headers["User-Agent"] = "strava-pipeline"
    session.auth = _keep_headers
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter())
    return session


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


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
    """One exchange in a session of :func:`new_session`, at most ``deadline_s`` (``DEADLINE_SECONDS``) long.

    ``RetriableStravaError`` when the wire fails; messages never hold the URL's query.
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
        raise RetriableStravaError(f"{what}: Strava cannot be reached: {_reason(error)}") from None
    answer = Answer(response.status_code, response.headers, body, (time.monotonic() - started) * 1000)
    if answer.status in REDIRECTS:
        raise RejectedRequest(
            f"{what}: Strava redirects elsewhere, which is not followed: check STRAVA_API_URL and STRAVA_OAUTH_URL",
            status=answer.status,
        )
    return answer


def parse_json(body: bytes, what: str) -> Any:
    """The parsed body of a success; ``RetriableStravaError`` when it is cut, HTML, or not JSON at all."""
    # Checking every number costs more than all the rest of the parsing: only where one could overflow.
    checks: dict[str, Any] = {"parse_float": _finite} if _MAY_OVERFLOW.search(body) else {}
    try:
        return json.loads(body, parse_constant=_refuse, **checks)
    except (ValueError, RecursionError):
        raise RetriableStravaError(f"{what}: Strava's answer is not readable JSON", status=HTTPStatus.OK) from None


def _refuse(_: str) -> NoReturn:
    # Python reads NaN and Infinity, but they are no JSON and Postgres stores no such text.
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
                f"{what}: Strava's answer is larger than {BODY_CAP_BYTES} bytes", status=response.status_code
            )
        parts.append(chunk)
    return b"".join(parts)


def _reason(error: requests.RequestException) -> str:
    """What failed, without the address: requests puts queries, and so secrets, into its messages."""
    match error:
        case requests.exceptions.SSLError():
            return "the TLS certificate does not hold"
        case requests.exceptions.ReadTimeout():
            return "no whole answer in time"
        case requests.exceptions.ConnectionError() if any(isinstance(arg, ReadTimeoutError) for arg in error.args):
            # How requests names a body that does not end in time.
            return "no whole answer in time"
        case requests.exceptions.ConnectionError():
            return "no connection"
        case requests.exceptions.ChunkedEncodingError():
            return "the answer was cut"
        case _:
            return type(error).__name__
