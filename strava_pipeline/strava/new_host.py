"""Strava's API moves to a new host, and this tells which address answers as that API.

From 2027-01-04 on the base is ``https://api-v3.strava.com``, which was announced as ``https://www.api-v3.strava.com``,
too. OAuth stays where it is. A probe carries no token, so that Strava can count it against nobody's limits: that Strava
asks for one (401) shows that the API is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.strava.faults import parse_fault
from strava_pipeline.strava.http import Answer, new_session, parse_json, send

OLD_HOST = "www.strava.com"
MOVES_ON = date(2027, 1, 4)
SPELLINGS = ("https://api-v3.strava.com", "https://www.api-v3.strava.com")
PROBE_SECONDS = 4.0
_PATH = "/athlete"


@dataclass(frozen=True)
class ApiProbe:
    """Whether Strava's API is at the base ``url``; ``told``: what answered, or why nothing did, in words."""

    url: str
    is_api: bool
    told: str


def uses_old_host(api_url: str) -> bool:
    """Whether this base of the API is the one that Strava gives up; that of a mock or a proxy is not."""
    return urlsplit(api_url).hostname == OLD_HOST


def probe_api(url: str, ca_bundle: Path | None = None, deadline_s: float = PROBE_SECONDS) -> ApiProbe:
    """Ask the base ``url`` without a token; the answer of Strava's API is that it wants one. Raises nothing.

    ``ca_bundle``: a file of authorities that are trusted as well.
    """
    try:
        answer = send(new_session(ca_bundle), "GET", f"{url}{_PATH}", what="probe", deadline_s=deadline_s)
    except RetriableStravaError as error:
        return ApiProbe(url, is_api=False, told=str(error).rpartition(": ")[2])
    if answer.status == HTTPStatus.UNAUTHORIZED and _is_stravas(answer):
        return ApiProbe(url, is_api=True, told="answers, and asks for a token (401)")
    return ApiProbe(url, is_api=False, told=f"answers {answer.status}, which is not Strava's API asking for a token")


def _is_stravas(answer: Answer) -> bool:
    try:
        return parse_fault(parse_json(answer.body)) is not None
    except ValueError:
        return False
