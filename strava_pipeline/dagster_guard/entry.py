"""The credential that a request needs once the rules allow it."""

from __future__ import annotations

from enum import Enum, auto

from strava_pipeline.dagster_guard.asked import RequestHead
from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.web.request_signature import HEADER

# A browser sends one; a few more are checked, since a page can add cookies of this name.
MOST_SECRETS = 4
LONGEST_SECRET = 128


class Credential(Enum):
    """The credential that lets a request pass: none (``FREE``), a signature, a session; ``NEVER``: nothing does."""

    FREE = auto()
    WITH_SIGNATURE = auto()
    WITH_SESSION = auto()
    NEVER = auto()


def required_credential(request: RequestHead, access: AccessSettings) -> Credential:
    """Return the credential that a request needs.

    Without a login (``stands_open``) none is needed. A request with a signature is judged by the signature alone.
    Without an operator's token nobody can log in.
    """
    if access.stands_open:
        return Credential.FREE
    if HEADER.lower() in request.headers:
        return Credential.WITH_SIGNATURE
    return Credential.NEVER if access.token is None else Credential.WITH_SESSION


def session_secrets(request: RequestHead, cookie: str) -> tuple[str, ...]:
    """Return the possible session secrets of a request, from all cookies of this name; at most four."""
    found = []
    for header in request.headers.get("cookie", ()):
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == cookie and 0 < len(value) <= LONGEST_SECRET:
                found.append(value)
    return tuple(dict.fromkeys(found))[:MOST_SECRETS]
