"""What of a secret setting must not show: in logs, errors and pages each of these parts is masked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from strava_pipeline.request_header import RequestHeader
from strava_pipeline.settings_values import EMBEDDED

# Whoever knows one of these addresses may use it.
_SECRET_ADDRESSES = frozenset({"alert_urls", "heartbeat_url"})
_SCHEME_WITH_DRIVER = re.compile(r"^postgres(ql)?\+[a-z0-9]+(?=://)")
_DATABASE_PASSWORDS = re.compile(r"://[^/?#@:]*:([^/?#@]*)@|[?&](?:ssl)?password=([^&#]*)")


def secret_parts(field: str, text: str) -> list[str]:
    """Return the parts of a secret setting that must not show: each entry of a list, or the password of an address."""
    if text == EMBEDDED:
        return []
    if field == "dagster_header":
        return RequestHeader.parse(text).secret_parts()
    if field in _SECRET_ADDRESSES:
        return [part for address in text.split() for part in (address, *_keys_in(address))]
    if "database" in field or field == "dagster_postgres_url":
        return _passwords_of_database(text)
    if "://" in text:
        return [urlsplit(text).password or ""]
    return [part.rpartition(":")[2].strip() for part in text.split(",")]


def _passwords_of_database(address: str) -> list[str]:
    """The passwords in an address that libpq takes, as it spells them and as they are."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  most settings are read without a database
    from psycopg.errors import ProgrammingError  # noqa: PLC0415  see above

    spelled = _DATABASE_PASSWORDS.findall(address)
    try:
        given = conninfo_to_dict(_SCHEME_WITH_DRIVER.sub("postgresql", address.strip()))
    except ProgrammingError:
        return [address]  # of which nobody knows what is secret
    known = [str(given[name]) for name in ("password", "sslpassword") if given.get(name)]
    return [*dict.fromkeys([*known, *(part for pair in spelled for part in pair if part)])]


def _keys_in(address: str) -> list[str]:
    """The parts of an address that look like keys: a password, and whatever has a digit, but for a host's name."""
    netloc, _, rest = address.partition("://")[2].partition("/")
    login, _, host = netloc.rpartition("@")
    parts = re.split(r"[/?&=,]", rest) + ([] if "." in host else [host])
    return [*login.split(":")[1:], *(part for part in parts if re.search("[0-9]", part))]
