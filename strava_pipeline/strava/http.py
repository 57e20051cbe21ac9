"""One HTTP exchange with Strava: deadline, size cap, no redirects, and faults of the wire as typed errors."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from strava_pipeline.errors import RejectedRequest, RetriableStravaError

OK = 200
REDIRECTS = range(300, 400)
CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 30.0
BODY_CAP_BYTES = 64 * 1024 * 1024
# Six digits are eleven days.
_RETRY_AFTER = re.compile(r"\s*([0-9]{1,6})\s*")
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Answer:
    """Status, headers (any letter case), whole body, and how long it took in ms."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration_ms: float

    @property
    def server_time(self) -> datetime | None:
        """The ``Date`` header (UTC, whole seconds)."""
        try:
            return parsedate_to_datetime(self.headers["Date"])
        except (KeyError, ValueError):
            return None

    @property
    def retry_after(self) -> timedelta | None:
        """``Retry-After`` in its form of whole seconds; Strava has not been seen to send any."""
        match = _RETRY_AFTER.fullmatch(self.headers.get("Retry-After", ""))
        return timedelta(seconds=int(match[1])) if match else None


def new_session() -> requests.Session:
    """A session that keeps connections, and takes nothing from ``.netrc`` that could override our header."""
    session = requests.Session()
    session.headers["User-Agent"] = "strava-pipeline"
    session.auth = _keep_headers
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
) -> Answer:
    """One exchange. ``RetriableStravaError`` when the wire fails; messages never hold the URL's query."""
    started = time.monotonic()
    try:
        with session.request(
            method,
            url,
            headers=headers,
            params=query,
            data=form,
            timeout=(CONNECT_SECONDS, DEADLINE_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _read(response, started + DEADLINE_SECONDS, what)
    except requests.RequestException as error:
        raise RetriableStravaError(f"{what}: Strava cannot be reached: {_reason(error)}") from None
    answer = Answer(response.status_code, response.headers, body, (time.monotonic() - started) * 1000)
    if answer.status in REDIRECTS:
        raise RejectedRequest(
            f"{what}: Strava redirects elsewhere, which is not followed: check STRAVA_API_URL",
            status=answer.status,
        )
    return answer


def parse_json(body: bytes, what: str) -> Any:
    """The parsed body of a success; ``RetriableStravaError`` when it is cut, HTML, or not JSON at all."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RetriableStravaError(f"{what}: Strava's answer is not readable JSON", status=OK) from None


def _read(response: requests.Response, deadline: float, what: str) -> bytes:
    parts, size = [], 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > BODY_CAP_BYTES:
            raise RetriableStravaError(f"{what}: Strava's answer is larger than {BODY_CAP_BYTES} bytes")
        if time.monotonic() > deadline:
            raise RetriableStravaError(f"{what}: Strava's answer took longer than {DEADLINE_SECONDS:.0f} s")
        parts.append(chunk)
    return b"".join(parts)


def _reason(error: requests.RequestException) -> str:
    """What failed, without the address: requests puts queries, and so secrets, into its messages."""
    match error:
        case requests.exceptions.SSLError():
            return "the TLS certificate does not hold"
        case requests.exceptions.ConnectTimeout() | requests.exceptions.ConnectionError():
            return "no connection"
        case requests.exceptions.Timeout():
            return "no answer in time"
        case _:
            return type(error).__name__
