"""Types of settings' values: each accepts what a setting of its kind may hold. Errors never show the value."""

from __future__ import annotations

import grp
import ipaddress
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator

from strava_pipeline.home import checked_home

# In place of the address of a Postgres: the one that comes with the package.
EMBEDDED = "embedded"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
# Private and link-local addresses: RFC 1918, 3927, 4193, 4291. `is_private` of ipaddress has many more.
_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)
# A single label begins with a letter: resolvers take numbers, also hexadecimal ones, for addresses anywhere.
_PRIVATE_NAME = re.compile(
    r"[a-z][a-z0-9_-]*|(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+(?:svc|svc\.cluster\.local|internal)\.?"
)


def is_private_host(host: str) -> bool:
    """Whether a host is this machine, or is reached within a private network or a cluster, as its name tells."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _PRIVATE_NAME.fullmatch(host) is not None
    return address.is_loopback or any(address in network for network in _PRIVATE)


def _checked_url(value: str) -> str:
    parts = _address(value)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("plain http is allowed to this machine only; use https")
    return value.rstrip("/")


def _checked_private_url(value: str) -> str:
    parts = _address(value)
    if parts.scheme == "http" and not is_private_host(parts.hostname or ""):
        raise ValueError(
            "plain http is allowed to this machine, to private addresses, to names without a dot and to *.svc,"
            " *.svc.cluster.local and *.internal only; use https"
        )
    return value.rstrip("/")


def _address(value: str) -> SplitResult:
    parts = urlsplit(value)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("an address without credentials, query and fragment is needed")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http(s) address")
    return parts


def _without_credentials(value: str) -> str:
    if "@" in urlsplit(value).netloc:
        raise ValueError("an address without credentials is needed; the storage's own variables hold those")
    return value


def _not_to_come(value: date) -> date:
    if value > datetime.now(UTC).date():
        raise ValueError("a date that has come (UTC) is needed")
    return value


def _known_group(value: str) -> str:
    try:
        grp.getgrnam(value)
    except KeyError:
        raise ValueError(f"this machine has no group {value}") from None
    return value


def _with_certificates(value: Path) -> Path:
    import ssl  # noqa: PLC0415  takes a while to load, and few need it

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(value)
    except OSError as error:
        # An SSLError, too, is an OSError; its text names a line of OpenSSL's code.
        why = "it holds no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"a file of certificates is needed, and {value} cannot be used: {why}") from None
    return value.absolute()


def _whole_path(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("a whole path is needed, which begins with /")
    return value


def _in_capitals(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


HomePath = Annotated[Path, AfterValidator(checked_home)]
HttpUrl = Annotated[str, AfterValidator(_checked_url)]
PrivateHttpUrl = Annotated[str, AfterValidator(_checked_private_url)]
LakeUrl = Annotated[str, AfterValidator(_without_credentials)]
PastDay = Annotated[date, AfterValidator(_not_to_come)]
CertificateFile = Annotated[Path, AfterValidator(_with_certificates)]
FolderPath = Annotated[Path, AfterValidator(_whole_path)]
GroupName = Annotated[str, AfterValidator(_known_group)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_in_capitals)]
