"""Settings of the access to Dagster's UI: host names, cookie, keys and the operator's token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from strava_pipeline.web import operator_door
from strava_pipeline.web.origins import parse_authority


@dataclass(frozen=True)
class AccessSettings:
    """The host names of Dagster's UI, and who may use it.

    ``names``: host names that are answered; ``cookie``: name of the cookie with a session's secret; ``proof``: binds
    sessions to the settings; ``key``: our own processes sign their requests with it; ``token``: the operator's, and
    without one nobody can log in; ``stands_open``: everybody has access without a login.
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
        """Return the access settings; ``ConfigurationError`` names the setting that is missing or wrong."""
        token = operator_door.operator_token(settings)
        return cls(
            # The bridge calls Dagster by the name in that address.
            names=LOOPBACK_HOSTS
            | _host_names(settings.dagster_hosts or "")
            | {urlsplit(settings.dagster_webserver_url).hostname or ""},
            over_tls=operator_door.is_over_tls(settings),
            cookie=operator_door.cookie_name(settings),
            proof=operator_door.session_proof(settings),
            key=operator_door.dagster_signing_key(settings),
            token=None if token is None else Secret(token),
            stands_open=settings.dangerously_open_without_login,
        )


def _host_names(text: str) -> frozenset[str]:
    names = set()
    for entry in filter(None, (part.strip() for part in text.split(","))):
        authority = parse_authority(entry)
        if authority is None or authority.port is not None:
            raise ConfigurationError(
                f"STRAVA_DAGSTER_HOSTS: {entry!r} is not a host name: give it without scheme and port"
            )
        names.add(authority.name)
    return frozenset(names)
