from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from strava_pipeline.mock_strava.deliveries import Deliveries
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mock_strava.callers import NOON, Clock
from strava_pipeline_tests.mock_strava.receivers import Receiver, receiving

SECRET = b"signing"
EVENT = {"object_type": "activity", "object_id": 12, "updates": {"title": "é"}}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def deliveries(clock: Clock) -> Iterator[Deliveries]:
    made = Deliveries(SECRET, 0.0, clock)
    yield made
    made.stop()


def settled(deliveries: Deliveries) -> list[dict[str, Any]]:
    assert deliveries.wait_until_settled(20)
    return deliveries.bodies()


def test_an_event_is_signed_over_its_raw_body(deliveries: Deliveries, receiver: Receiver) -> None:
    deliveries.send(EVENT, receiver.url)
    headers, body = receiver.posts.get(timeout=PATIENCE_SECONDS)
    assert json.loads(body) == EVENT
    match = re.fullmatch(r"t=([0-9]+),v1=([0-9a-f]{64})", headers["X-Strava-Signature"])
    assert match
    assert int(match[1]) == int(NOON)
    assert match[2] == hmac.new(SECRET, match[1].encode() + b"." + body, hashlib.sha256).hexdigest()


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    deliveries = Deliveries(None, 0.0)
    deliveries.send(EVENT, receiver.url)
    assert "X-Strava-Signature" not in receiver.posts.get(timeout=PATIENCE_SECONDS)[0]
    deliveries.stop()


def test_a_200_ends_the_attempts(deliveries: Deliveries, receiver: Receiver) -> None:
    receiver.statuses = [500, 200]
    deliveries.send(EVENT, receiver.url)
    (found,) = settled(deliveries)
    assert found["state"] == "delivered"
    assert [attempt["status"] for attempt in found["attempts"]] == [500, 200]


def test_after_three_attempts_the_event_is_lost(deliveries: Deliveries, receiver: Receiver) -> None:
    receiver.statuses = [503, 201, 302, 200]
    deliveries.send(EVENT, receiver.url)
    (found,) = settled(deliveries)
    assert found["state"] == "lost"
    assert [attempt["status"] for attempt in found["attempts"]] == [503, 201, 302]
    assert receiver.statuses == [200]


def test_nobody_there_is_a_failed_attempt(deliveries: Deliveries) -> None:
    with socket.socket() as reserved:
        # Bound, but not listening: connections are refused, and nobody else can take the port.
        reserved.bind(("127.0.0.1", 0))
        deliveries.send(EVENT, f"http://127.0.0.1:{reserved.getsockname()[1]}/callback")
        (found,) = settled(deliveries)
    assert found["state"] == "lost"
    assert [attempt["status"] for attempt in found["attempts"]] == [None, None, None]


def test_an_answer_that_comes_too_late_is_none(
    deliveries: Deliveries, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strava_pipeline.mock_strava.deliveries.DEADLINE_SECONDS", 0.2)
    receiver.held = threading.Event()
    deliveries.send(EVENT, receiver.url)
    (found,) = settled(deliveries)
    receiver.held.set()
    assert [attempt["status"] for attempt in found["attempts"]] == [None, None, None]


def test_attempts_are_a_gap_apart(receiver: Receiver) -> None:
    receiver.statuses = [500, 200]
    deliveries = Deliveries(None, 0.2)
    deliveries.send(EVENT, receiver.url)
    first, second = settled(deliveries)[0]["attempts"]
    assert second["at"] - first["at"] >= 0.2
    deliveries.stop()


def test_events_do_not_wait_for_the_next_attempt_of_others(receiver: Receiver) -> None:
    receiver.statuses = [500]
    deliveries = Deliveries(None, 3600.0)
    deliveries.send({"object_id": 1}, receiver.url)
    receiver.posts.get(timeout=PATIENCE_SECONDS)
    deliveries.send({"object_id": 2}, receiver.url)
    assert json.loads(receiver.posts.get(timeout=PATIENCE_SECONDS)[1]) == {"object_id": 2}
    deliveries.stop()
    assert deliveries.bodies()[0]["state"] == "waiting"


def test_without_an_address_an_event_is_lost(deliveries: Deliveries) -> None:
    deliveries.send(EVENT, None)
    (found,) = deliveries.bodies()
    assert (found["state"], found["attempts"]) == ("lost", [])
