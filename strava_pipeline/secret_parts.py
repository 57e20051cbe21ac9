"""What of a secret setting must not show: in logs, errors and pages each of these parts is masked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from strava_pipeline.request_header import RequestHeader
from strava_pipeline.settings_values import EMBEDDED

# Whoever knows one of these addresses may use it.
_SECRET_ADDRESSES = frozenset({"alert_urls", "heartbeat_url"})


def secret_parts(field: str, text: str) -> list[str]:
    """Return the parts of a secret setting that must not show: each entry of a list, or the password of an address."""
    if text == EMBEDDED:
        return []
    if field == "dagster_header":
        return RequestHeader.parse(text).secret_parts()
    if field in _SECRET_ADDRESSES:
        return [part for address in text.split() for part in (address, *_keys_in(address))]
    if "://" in text:
        return [urlsplit(text).password or ""]
    return [part.rpartition(":")[2].strip() for part in text.split(",")]


def _keys_in(address: str) -> list[str]:
    """The parts of an address that look like keys: a password, and whatever has a digit, but for a host's name."""
    netloc, _, rest = address.partition("://")[2].partition("/")
    login, _, host = netloc.rpartition("@")
    parts = re.split(r"[/?&=,]", rest) + ([] if "." in host else [host])
    return [*login.split(":")[1:], *(part for part in parts if re.search("[0-9]", part))]
