"""Counts bad deliveries and wrong tokens per sender. Beyond so many a minute they are answered 429, and not logged.

Nobody is kept from what is right. A delivery is always looked at: one that is signed, or knows the path, passes. Pages
are never refused for what came before: an open session or a login link passes, whoever else shares the address.

Only the form that takes the operator's token looks at its sender. Where the address is known - that of a peer that is
not this machine, or the one that counted proxies tell - sixty wrong tokens a minute close the form for it until the
minute is over. Where it is not known, since the peer is this machine - a browser here, or a forwarder that nobody
counted, behind which may be anybody - all share one count, and a form that was closed for all would be closed for the
operator, too. There the token is compared whatever came before: the right one passes, and wrong ones beyond the limit
get the same word at once, without a row in the audit. What keeps a guesser out is the token's length: one that we
made has 256 bits; one that somebody chose has 16 characters at least.

Of all wrong tokens together, from however many addresses, sixty a minute are logged and audited.
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
# The oldest go first; an entry takes some 200 bytes.
MOST_ADDRESSES = 10_000
BAD = range(400, 500)
DELIVERIES = "webhooks"
# Who has one address of IPv6 has the whole network of this size.
IPV6_NETWORK_BITS = 64
# An address of IPv6 has no more characters, whatever a header claims to be one.
LONGEST_ADDRESS = 45
# The sender of whatever comes from an address that tells nothing of it.
NOBODY = ""
# All senders together; no address is spelled so.
EVERYBODY = "everybody"


class BadRequests:
    """How many bad requests each address sent within its window.

    Libraries that limit rates count what comes, before it is looked at; this counts what turned out to be bad.
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
        """Count one more; returns how many there are now."""
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
        """How long this address is over the limit from now on (s); 0: it is not."""
        with self._guard:
            began, count = self._windows.get(_source(address), (0.0, 0))
            return max(began + WINDOW_SECONDS - self._clock(), 0.0) if count >= self._per_minute else 0.0


def install_limit(app: Flask, limit: BadRequests) -> None:
    """Count the app's bad deliveries; those beyond the limit are told so."""

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
    """Whether the delivery at hand comes from an address over its limit."""
    return bool(g.get("over_limit"))


def known_sender() -> str | None:
    """The address behind the request at hand; ``None`` if it is this machine's, behind which may be anybody."""
    address = request.remote_addr or NOBODY
    return address if _is_elsewhere(address) else None


def _too_many(seconds: float) -> Response:
    response = jsonify(error="too many bad requests", id=current_request_id())
    response.status_code = HTTPStatus.TOO_MANY_REQUESTS
    response.headers["Retry-After"] = str(int(seconds) + 1)
    return response


def _source(address: str) -> str:
    """What counts as one sender."""
    if len(address) > LONGEST_ADDRESS:
        return NOBODY
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    except ValueError:
        return address


def _is_elsewhere(address: str) -> bool:
    """Whether this is an address, and none of this machine's."""
    if len(address) > LONGEST_ADDRESS:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return not (mapped or found).is_loopback and not (mapped or found).is_unspecified
