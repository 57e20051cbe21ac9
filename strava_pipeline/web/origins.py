"""Strict parsing of the headers ``Host`` and ``Origin``: only spellings that browsers use are accepted."""

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
    """A host name in lower case, or an IPv6 address without brackets; ``port`` is ``None`` if none was given."""

    name: str
    port: int | None


@dataclass(frozen=True)
class Origin:
    """The origin of a page: scheme, host and port."""

    scheme: str
    authority: Authority


def parse_authority(text: str) -> Authority | None:
    """Return host and port of a ``Host`` header; ``None`` if it is not one host name with at most a port."""
    return _authority(_AUTHORITY.fullmatch(text))


def parse_origin(text: str) -> Origin | None:
    """Return the origin of an ``Origin`` header; ``None`` for ``null`` and all other texts that are no web origin."""
    match = _ORIGIN.fullmatch(text)
    authority = _authority(match)
    return None if match is None or authority is None else Origin(match["scheme"], authority)


def has_host(origin: Origin, host: Authority) -> bool:
    """Whether ``origin`` has the host and port ``host``; the scheme implies a missing port."""
    default = _DEFAULT_PORTS[origin.scheme]
    return (origin.authority.name, origin.authority.port or default) == (host.name, host.port or default)


def is_same_origin(one: Origin, other: Origin) -> bool:
    """Whether two origins have equal scheme, host and port."""
    return one.scheme == other.scheme and has_host(one, _with_port(other))


def _with_port(origin: Origin) -> Authority:
    return Authority(origin.authority.name, origin.authority.port or _DEFAULT_PORTS[origin.scheme])


def _authority(match: re.Match[str] | None) -> Authority | None:
    if match is None:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        return None
    return Authority(match["name"].lower().strip("[]"), port)
