"""Who may pass once the rules have nothing against a request."""

from __future__ import annotations

from enum import Enum, auto

from strava_pipeline.dagster_guard.asked import Asked
from strava_pipeline.dagster_guard.door import Door
from strava_pipeline.web.request_signature import HEADER

# A browser sends one; more are somebody's try.
MOST_SECRETS = 4
LONGEST_SECRET = 128


class Entry(Enum):
    """On what terms a request passes."""

    FREE = auto()
    WITH_SIGNATURE = auto()
    WITH_SESSION = auto()
    NEVER = auto()


def entry(asked: Asked, door: Door) -> Entry:
    """On what terms: freely if nobody has to log in, never if nobody can; whatever has a signature, by that alone."""
    if door.stands_open:
        return Entry.FREE
    if HEADER.lower() in asked.headers:
        return Entry.WITH_SIGNATURE
    return Entry.NEVER if door.token is None else Entry.WITH_SESSION


def secrets_in(asked: Asked, cookie: str) -> tuple[str, ...]:
    """What may be a session's secret, out of the cookies of this name."""
    found = []
    for header in asked.headers.get("cookie", ()):
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == cookie and 0 < len(value) <= LONGEST_SECRET:
                found.append(value)
    return tuple(dict.fromkeys(found))[:MOST_SECRETS]
