"""Limits bad requests per address. Good ones are never refused: not on the webhook's path, nor those of a health check.

A request counts as bad by its answer: any 4xx. Beyond the limit an address gets 429 for its bad deliveries, which are
no longer logged one by one, and for everything on the pages for people, so that guessing an operator's token ends. A
delivery is always looked at first: one that is signed, or knows the path, passes whatever its address did before.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from flask import Flask, Response, g, jsonify, request

from webhook_bridge.request_ids import current_request_id

log = logging.getLogger(__name__)

PER_MINUTE = 60
WINDOW_SECONDS = 60.0
# The oldest go first; an entry takes some 200 bytes.
MOST_ADDRESSES = 10_000
TOO_MANY = 429
BAD = range(400, 500)
ALWAYS_SERVED = ("webhooks", "health")
# Who has one address of IPv6 has the whole network of this size.
IPV6_NETWORK_BITS = 64


class BadRequests:
    """How many bad requests each address sent within its window."""

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
    """Count the app's bad answers, and refuse what is over the limit."""

    def refuse() -> Response | None:
        g.over_limit = limit.seconds_left(request.remote_addr or "")
        return None if not g.over_limit or request.blueprint in ALWAYS_SERVED else _too_many(g.over_limit)

    def count(response: Response) -> Response:
        if response.status_code not in BAD:
            return response
        if g.get("over_limit"):
            return response if response.status_code == TOO_MANY else _too_many(g.over_limit)
        if limit.add(request.remote_addr or "") == PER_MINUTE:
            log.warning("%s sent %d bad requests within a minute: no more are logged", request.remote_addr, PER_MINUTE)
        return response

    app.before_request(refuse)
    app.after_request(count)


def is_over_limit() -> bool:
    """Whether the request at hand comes from an address over its limit."""
    return bool(g.get("over_limit"))


def _too_many(seconds: float) -> Response:
    response = jsonify(error="too many bad requests", id=current_request_id())
    response.status_code = TOO_MANY
    response.headers["Retry-After"] = str(int(seconds) + 1)
    return response


def _source(address: str) -> str:
    """What counts as one sender."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
    except ValueError:
        return address
