"""Names of hosts, and origins of pages, as browsers spell them; any other spelling is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HOST = r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
_AUTHORITY = re.compile(_HOST, re.ASCII | re.IGNORECASE)
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_HOST}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Authority:
    """A host's name in lower case, an IPv6 address without its brackets; ``port`` is ``None`` if it was not said."""

    name: str
    port: int | None


@dataclass(frozen=True)
class Origin:
    """Where a page comes from."""

    scheme: str
    authority: Authority


def parse_authority(text: str) -> Authority | None:
    """What a ``Host`` header names; ``None`` if it is not one name with at most a port."""
    return _authority(_AUTHORITY.fullmatch(text))


def parse_origin(text: str) -> Origin | None:
    """What an ``Origin`` header names; ``None`` for ``null`` and everything else that is no page of the web."""
    match = _ORIGIN.fullmatch(text)
    authority = _authority(match)
    return None if match is None or authority is None else Origin(match["scheme"], authority)


def is_at(origin: Origin, host: Authority) -> bool:
    """Whether the page came from the very host and port that it asks now."""
    default = _DEFAULT_PORTS[origin.scheme]
    return (origin.authority.name, origin.authority.port or default) == (host.name, host.port or default)


def is_same(one: Origin, other: Origin) -> bool:
    """Whether scheme, host and port are the same."""
    return one.scheme == other.scheme and is_at(one, _with_port(other))


def _with_port(origin: Origin) -> Authority:
    return Authority(origin.authority.name, origin.authority.port or _DEFAULT_PORTS[origin.scheme])


def _authority(match: re.Match[str] | None) -> Authority | None:
    if match is None:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        return None
    return Authority(match["name"].lower().strip("[]"), port)
