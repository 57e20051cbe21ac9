from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.mock_strava.callers import APP
from strava_pipeline_tests.mock_strava.receivers import Receiver, receiving

PATH = "/api/v3/push_subscriptions"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def subscribe(client: FlaskClient, url: str) -> TestResponse:
    return client.post(PATH, data={**APP, "callback_url": url, "verify_token": "shared word"})


def code_of(answer: TestResponse) -> tuple[int, str]:
    assert answer.json is not None
    return answer.status_code, answer.json["errors"][0]["code"]


def test_a_callback_that_echoes_the_challenge_is_subscribed(client: FlaskClient, receiver: Receiver) -> None:
    answer = subscribe(client, receiver.url)
    assert (answer.status_code, answer.json) == (201, {"id": 1})
    (handshake,) = receiver.handshakes
    assert (handshake["hub.mode"], handshake["hub.verify_token"]) == ("subscribe", "shared word")
    viewed = client.get(PATH, query_string=APP).json
    assert viewed is not None
    assert [(entry["id"], entry["application_id"], entry["callback_url"]) for entry in viewed] == [(1, 7, receiver.url)]


def test_a_wrong_echo_is_refused(client: FlaskClient, receiver: Receiver) -> None:
    receiver.echo = False
    assert code_of(subscribe(client, receiver.url)) == (400, "not verifiable")
    assert client.get(PATH, query_string=APP).json == []


def test_a_callback_that_takes_too_long_is_refused(
    client: FlaskClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strava_pipeline.mock_strava.subscriptions.VERIFY_SECONDS", 0.2)
    receiver.held = threading.Event()
    assert code_of(subscribe(client, receiver.url)) == (400, "not verifiable")
    receiver.held.set()


def test_an_app_has_one_subscription(client: FlaskClient, receiver: Receiver) -> None:
    subscribe(client, receiver.url)
    assert code_of(subscribe(client, receiver.url)) == (400, "already exists")
    assert client.delete(f"{PATH}/2", query_string=APP).status_code == 404
    assert client.delete(f"{PATH}/1", data=APP).status_code == 204
    assert subscribe(client, receiver.url).status_code == 201


def test_the_apps_credentials_are_needed(client: FlaskClient, receiver: Receiver) -> None:
    wrong = {**APP, "client_secret": "wrong", "callback_url": receiver.url}
    assert client.post(PATH, data=wrong).status_code == 401
    assert client.get(PATH).status_code == 400
    assert client.delete(f"{PATH}/1").status_code == 400
    assert receiver.handshakes == []


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/x", "nowhere"])
def test_a_callback_must_be_an_address(client: FlaskClient, url: str) -> None:
    assert code_of(subscribe(client, url)) == (400, "invalid")


def test_events_go_to_the_subscription(client: FlaskClient, receiver: Receiver) -> None:
    subscribe(client, receiver.url)
    athlete_id = (client.get("/mock/athletes").json or [])[0]["id"]
    client.post("/mock/deauthorize", json={"athlete_id": athlete_id})
    event = json.loads(receiver.posts.get(timeout=PATIENCE_SECONDS)[1])
    assert event["updates"] == {"authorized": "false"}
    assert (event["object_type"], event["object_id"], event["owner_id"]) == ("athlete", athlete_id, athlete_id)
