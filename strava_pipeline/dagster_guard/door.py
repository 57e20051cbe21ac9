"""What opens Dagster's UI, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.secret import Secret
from strava_pipeline.settings import LOOPBACK_HOSTS, Settings
from strava_pipeline.web import operator_door
from strava_pipeline.web.origins import parse_authority


@dataclass(frozen=True)
class Door:
    """By which names Dagster's UI is reached, and by what it opens.

    ``cookie`` holds a session's secret, which counts under ``proof``; our own processes sign by
    ``key``.
    Without ``token`` nobody can log in; ``stands_open``: nobody has to.
    """

    names: frozenset[str]
    over_tls: bool
    cookie: str
    proof: str
    key: Secret
    token: Secret | None
    stands_open: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The door of this installation. ``ConfigurationError`` names the setting that is missing or wrong."""
        token = operator_door.operator_token(settings)
        return cls(
            names=LOOPBACK_HOSTS | _names(settings.dagster_hosts or ""),
            over_tls=operator_door.is_over_tls(settings),
            cookie=operator_door.cookie_name(settings),
            proof=operator_door.proof_of(settings),
            key=operator_door.dagster_key(settings),
            token=None if token is None else Secret(token),
            stands_open=settings.dangerously_open_without_login,
        )


def _names(text: str) -> frozenset[str]:
    names = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        authority = parse_authority(entry)
        if authority is None or authority.port is not None:
            raise ConfigurationError(f"STRAVA_DAGSTER_HOSTS: {entry!r} is not a host's name without scheme and port")
        names.add(authority.name)
    return frozenset(names)
