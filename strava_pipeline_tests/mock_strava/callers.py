"""A clock that the test moves, and callers that hold an athlete's token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from strava_pipeline.mock_strava.state import EXTENSION, Mock

ALL_SCOPES = "read,activity:read_all,profile:read_all"
APP = {"client_id": "7", "client_secret": "app-secret"}
# In September 2026, one minute before a quarter of an hour ends.
NOON = 1_790_769_540.0


@dataclass
class Clock:
    """Epoch s; stands still until the test moves it."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Caller:
    """Calls the API with one access token."""

    client: FlaskClient
    tokens: dict[str, Any]

    def get(self, path: str) -> TestResponse:
        return self.client.get(f"/api/v3{path}", headers={"Authorization": f"Bearer {self.tokens['access_token']}"})

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json


def mock_of(client: FlaskClient) -> Mock:
    """The state behind a client."""
    mock: Mock = client.application.extensions[EXTENSION]
    return mock


def code_for(client: FlaskClient, athlete_id: int, scopes: str = ALL_SCOPES) -> str:
    return mock_of(client).grants.new_code(athlete_id, tuple(scopes.split(",")))


def exchange(client: FlaskClient, code: str) -> TestResponse:
    return client.post("/oauth/token", data={**APP, "grant_type": "authorization_code", "code": code})


def refresh(client: FlaskClient, refresh_token: str) -> TestResponse:
    return client.post("/oauth/token", data={**APP, "grant_type": "refresh_token", "refresh_token": refresh_token})


def connect(client: FlaskClient, athlete_id: int, scopes: str = ALL_SCOPES) -> Caller:
    """A caller on behalf of this athlete."""
    tokens = exchange(client, code_for(client, athlete_id, scopes)).json
    assert isinstance(tokens, dict)
    return Caller(client, tokens)
