"""Addresses of Postgres: all that libpq takes, in one form."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from configparser import ConfigParser, Error
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from sqlalchemy.engine import URL

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError

DRIVER = "postgresql+psycopg"
_SCHEME = re.compile(r"^([a-z0-9]+)(\+[a-z0-9]+)?://", re.IGNORECASE)
_POSTGRES = frozenset({"postgres", "postgresql"})
_NAMES_HOST = re.compile(r"[?&]host=")
_PLAIN_HOST = re.compile(r"[^/@,][^/,]*")


def parse_url(text: str, name: str) -> URL:
    """Parse a Postgres address, with psycopg 3 as its driver; ``ConfigurationError`` names the setting ``name``.

    All that libpq takes is one: ``postgresql://...`` and ``host=... dbname=...``, with one host or several, a socket's
    folder, or the name of a service. A service is replaced by what its file says. Login and database are filled in as
    libpq would, from variables and the user's name. A driver's name in the scheme is ignored.
    """
    scheme = _SCHEME.match(text.strip())
    if scheme and scheme[1].lower() not in _POSTGRES:
        raise ConfigurationError(f"{name} is not a Postgres address: only Postgres is supported")
    if len(_NAMES_HOST.findall(text)) > 1:
        raise ConfigurationError(
            f"{name} is not an address that libpq takes: name its hosts as in //host-a,host-b/name"
        )
    plain = f"postgresql://{text.strip()[scheme.end() :]}" if scheme else text
    try:
        given = conninfo_to_dict(plain)
        _check_numbers(str(given.get("port", "")))
        _check_numbers(str(given.get("connect_timeout", "")))
    except (ProgrammingError, ValueError):
        # libpq's words may repeat a part of the address.
        raise ConfigurationError(
            f"{name} is not an address that libpq takes, like postgresql://user@host/name"
        ) from None
    url = _url({key: str(value) for key, value in given.items() if value})
    # It may be that of a service's file.
    redaction.register_secret(url.password or "")
    return url


def connection_parameters(url: URL) -> dict[str, Any]:
    """Return libpq's parameters for an address of :func:`parse_url`."""
    return {**url.query, **url.translate_connect_args(username="user", database="dbname")}


def render(url: URL) -> str:
    """Return an address with its password as text, which libpq and SQLAlchemy read alike."""
    login = ":".join(quote(part, safe="") for part in (url.username, url.password) if part is not None)
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
    port = f":{url.port}" if url.port else ""
    path, more = url.database or "", {}
    if quote(path, safe="") != path:  # which SQLAlchemy would take literally
        path, more = "", {"dbname": path}
    # A blank as + would be a plus to libpq.
    query = urlencode({**url.query, **more}, doseq=True, quote_via=quote, safe="")
    return f"{url.drivername}://{f'{login}@' if login else ''}{host}{port}/{path}{f'?{query}' if query else ''}"


def without_password(url: URL) -> str:
    """Return an address without login and password, for messages."""
    hosts = _listed(url.host or url.query.get("host") or url.query.get("hostaddr"))
    ports = [str(url.port)] if url.port else _listed(url.query.get("port"))
    shown = []
    for host, port in zip_longest(hosts, ports[: len(hosts)], fillvalue=""):
        # The port of a socket is a part of its name, which nobody looks for.
        shown.append(f"{host}:{port}" if port and not host.startswith("/") else host)
    service = url.query.get("service")
    where = ",".join(shown) or (f"the service {service}" if service else "the local socket")
    return f"{where}/{url.database}" if url.database else where


def _url(given: Mapping[str, str]) -> URL:
    parts = _with_service(given)
    if "service" not in parts:
        defaults = _defaults()
        parts.setdefault("user", defaults.get("user", ""))
        parts.setdefault("dbname", defaults.get("dbname", "") or parts["user"])
    user, password, database = (parts.pop(name, None) or None for name in ("user", "password", "dbname"))
    url = URL.create(DRIVER, user, password, database=database)
    host, port = parts.get("host", ""), parts.get("port", "")
    if _PLAIN_HOST.fullmatch(host):
        return url.set(host=parts.pop("host"), port=int(parts.pop("port", 0)) or None, query=parts)
    if port and "," not in port:
        parts["port"] = ",".join([port] * len(host.split(",")))
    return url.set(query=parts)


def _with_service(given: Mapping[str, str]) -> dict[str, str]:
    """The parts of an address, with those that its service adds; a service that is not found is left to libpq."""
    service = given.get("service") or os.environ.get("PGSERVICE")
    if service is None:
        return dict(given)
    for path in _service_files():
        parser = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#", strict=False)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeError, Error):
            continue  # libpq tells it better
        if service in parser:
            return {**parser[service], **{key: value for key, value in given.items() if key != "service"}}
    return dict(given)


def _service_files() -> list[Path]:
    """Where libpq looks, but for a folder that is known to it alone."""
    own = os.environ.get("PGSERVICEFILE")
    files = [Path(own) if own else Path("~/.pg_service.conf").expanduser()]
    system = os.environ.get("PGSYSCONFDIR")
    return [*files, Path(system) / "pg_service.conf"] if system else files


def _defaults() -> dict[str, str]:
    """What libpq takes from variables and the user's name."""
    found = {option.keyword.decode(): option.val for option in Conninfo.get_defaults()}
    return {key: value.decode() for key, value in found.items() if value}


def _check_numbers(text: str) -> None:
    for part in text.split(",") if text else ():
        int(part or 0)


def _listed(text: str | tuple[str, ...] | None) -> list[str]:
    return text.split(",") if isinstance(text, str) and text else []
