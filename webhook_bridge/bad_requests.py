"""Counts bad deliveries and wrong operator's tokens per sender; beyond 60 a minute they get 429 and are not logged.

Good requests always pass. Every delivery is checked: one that is signed, or knows the path, is accepted, whatever its
sender sent before. Pages are not refused because of bad requests: an open session or a login link always works.

Only the form for the operator's token is limited by sender:

- A sender is known if the peer is not this machine, or if trusted proxies tell its address. Sixty wrong tokens a minute
  close the form for this address until the minute is over.
- A sender is unknown if the peer is this machine: a browser here, or a forwarder that is not among the trusted proxies,
  behind which may be anybody. All unknown senders share one count. The form is not closed, since it would be closed for
  the operator, too: the right token passes, and wrong ones beyond the limit get 429 without a row in the audit. The
  token's length keeps guessers out: a token that we make has 256 bits, one that an operator chooses at least 16
  characters.

Of all wrong tokens together, from any number of addresses, sixty a minute are logged and audited.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, g, jsonify, request

from strava_pipeline.redaction import get_logger
from webhook_bridge.request_ids import current_request_id

log = get_logger(__name__)

PER_MINUTE = 60
WINDOW_SECONDS = 60.0
# Beyond this, the entry that was counted longest ago is dropped; an entry takes some 200 bytes.
MOST_ADDRESSES = 10_000
BAD = range(400, 500)
DELIVERIES = "webhooks"
# A sender with one IPv6 address usually has the whole network of this size.
IPV6_NETWORK_BITS = 64
# Characters of the longest IPv6 address; a longer text in a header is no address.
LONGEST_ADDRESS = 45
# Stands for all senders whose address is unknown.
NOBODY = ""
# Stands for all senders together; no address is spelled like this.
EVERYBODY = "everybody"


class BadRequests:
    """Counts of bad requests per address, each within a window of a minute.

    Libraries for rate limits count requests before they are checked; this class counts those that were found to be bad.
    """

    def __init__(self, per_minute: int = PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._guard = threading.Lock()
        # address -> start of its window (s of the clock), bad requests within it
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, address: str) -> int:
        """Count one more bad request of an address; returns how many its window has now."""
        source, now = _source(address), self._clock()
        with self._guard:
            began, count = self._windows.pop(source, (now, 0))
            if now - began >= WINDOW_SECONDS:
                began, count = now, 0
            self._windows[source] = (began, count + 1)
            if len(self._windows) > MOST_ADDRESSES:
                self._windows.popitem(last=False)
        return count + 1

    def seconds_left(self, address: str) -> float:
        """How long this address stays over the limit (s); 0 if it is not over the limit."""
        with self._guard:
            began, count = self._windows.get(_source(address), (0.0, 0))
            return max(began + WINDOW_SECONDS - self._clock(), 0.0) if count >= self._per_minute else 0.0


def install_limit(app: Flask, limit: BadRequests) -> None:
    """Count the app's bad deliveries; answer 429 to those beyond the limit."""

    def look() -> None:
        g.over_limit = limit.seconds_left(request.remote_addr or NOBODY)

    def count(response: Response) -> Response:
        if response.status_code not in BAD or request.blueprint != DELIVERIES:
            return response
        if is_over_limit():
            return _too_many(g.over_limit)
        if limit.add(request.remote_addr or NOBODY) == PER_MINUTE:
            told = _source(request.remote_addr or NOBODY)
            log.warning("%r sent %d bad deliveries within a minute: no more are logged", told, PER_MINUTE)
        return response

    app.before_request(look)
    app.after_request(count)


def is_over_limit() -> bool:
    """Whether the current request comes from an address that is over the limit of bad deliveries."""
    return bool(g.get("over_limit"))


def known_sender() -> str | None:
    """The address that sent the current request; ``None`` if unknown: this machine's, behind which may be anybody."""
    address = request.remote_addr or NOBODY
    return address if _is_elsewhere(address) else None


def _too_many(seconds: float) -> Response:
    response = jsonify(error="too many bad requests", id=current_request_id())
    response.status_code = HTTPStatus.TOO_MANY_REQUESTS
    response.headers["Retry-After"] = str(int(seconds) + 1)
    return response


def _source(address: str) -> str:
    """The name under which an address is counted: a whole network for IPv6."""
    if len(address) > LONGEST_ADDRESS:
        return NOBODY
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    except ValueError:
        return address


def _is_elsewhere(address: str) -> bool:
    """Whether this is an IP address, and neither loopback nor unspecified (``0.0.0.0``, ``::``)."""
    if len(address) > LONGEST_ADDRESS:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return not (mapped or found).is_loopback and not (mapped or found).is_unspecified
