"""Delivery of events: signed, with up to three attempts until the callback answers 200 in time.

The header is ``X-Strava-Signature: t=<unix s>,v1=<hex>``, HMAC-SHA256 over ``"<t>." + raw body``.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from http import HTTPStatus

import requests

from strava_pipeline.mock_strava.shapes import JsonObject

ATTEMPTS = 3
DEADLINE_SECONDS = 2.0


class State(StrEnum):
    """The state of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: its time (epoch s), the answer's status (``None``: no answer in time), and its duration (ms)."""

    at: float
    status: int | None
    ms: float


@dataclass
class Delivery:
    """One event and the attempts to deliver it."""

    event: JsonObject
    url: str | None
    state: State = State.WAITING
    attempts: list[Attempt] = field(default_factory=list)

    def body(self) -> JsonObject:
        attempts = [asdict(attempt) for attempt in self.attempts]
        return {"event": self.event, "url": self.url, "state": self.state.value, "attempts": attempts}


class Deliveries:
    """The queue of events and the thread that posts them; ``clock`` returns epoch s, ``gap_s`` is between attempts."""

    def __init__(self, signing_secret: bytes | None, gap_s: float, clock: Callable[[], float] = time.time) -> None:
        self._secret = signing_secret
        self._gap_s = gap_s
        self._clock = clock
        self._all: list[Delivery] = []
        self._due: list[tuple[float, int, Delivery]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def send(self, event: JsonObject, url: str | None) -> None:
        """Queue an event; without a URL it is lost at once, as at Strava without a subscription."""
        delivery = Delivery(event, url, State.WAITING if url else State.LOST)
        with self._changed:
            self._all.append(delivery)
            if url and not self._stopping:
                self._queue(delivery, 0.0)
                self._start()
            self._changed.notify_all()

    def bodies(self) -> list[JsonObject]:
        """Return all deliveries so far, oldest first."""
        with self._changed:
            return [delivery.body() for delivery in self._all]

    def wait_until_settled(self, timeout_s: float) -> bool:
        """Wait until no delivery is waiting, so that tests see the results; returns whether this was in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(delivery.state is not State.WAITING for delivery in self._all), timeout_s
            )

    def stop(self) -> None:
        """End the thread; waiting events are not sent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mock-deliveries", daemon=True)
            self._thread.start()

    def _queue(self, delivery: Delivery, after_s: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + after_s, next(self._order), delivery))

    def _run(self) -> None:
        with requests.Session() as session:
            # Proxies and .netrc of the environment must not affect the delivery.
            session.trust_env = False
            while (delivery := self._next()) is not None:
                self._note(delivery, self._post(session, delivery))

    def _next(self) -> Delivery | None:
        with self._changed:
            while not self._stopping:
                wait_s = self._due[0][0] - time.monotonic() if self._due else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait_s)
        return None

    def _post(self, session: requests.Session, delivery: Delivery) -> Attempt:
        body = json.dumps(delivery.event).encode()
        moment, started = self._clock(), time.monotonic()
        headers = {"Content-Type": "application/json"}
        if self._secret is not None:
            headers["X-Strava-Signature"] = signature(self._secret, int(moment), body)
        status = None
        try:
            with session.post(
                delivery.url or "",
                data=body,
                headers=headers,
                timeout=DEADLINE_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except requests.RequestException:
            pass  # recorded as an attempt without an answer
        return Attempt(at=moment, status=status, ms=round((time.monotonic() - started) * 1000, 1))

    def _note(self, delivery: Delivery, attempt: Attempt) -> None:
        with self._changed:
            delivery.attempts.append(attempt)
            if attempt.status == HTTPStatus.OK:
                delivery.state = State.DELIVERED
            elif len(delivery.attempts) == ATTEMPTS:
                delivery.state = State.LOST
            else:
                self._queue(delivery, self._gap_s)
            self._changed.notify_all()


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the value of the signature header for a body signed at ``timestamp`` (epoch s)."""
    mac = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"
