from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from strava_pipeline.mock_strava.athletes import CYCLIST, RUNNER
from strava_pipeline_tests.mock_strava.callers import APP, NOON, Caller, Clock, code_for, exchange, refresh

ASK = {
    "client_id": "7",
    "redirect_uri": "http://localhost/back?keep=1",
    "response_type": "code",
    "scope": "read,activity:read_all",
    "state": "a&b",
}


def errors(answer: TestResponse) -> tuple[int, list[dict[str, str]]]:
    body: Any = answer.json
    return answer.status_code, body["errors"]


def redirected(answer: TestResponse) -> dict[str, str]:
    """The query of the address that the browser is sent to."""
    assert answer.status_code == 302
    parts = urlsplit(answer.headers["Location"])
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "localhost", "/back")
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_a_client_without_a_browser_is_sent_back_at_once(client: FlaskClient) -> None:
    query = redirected(client.get("/oauth/authorize", query_string=ASK | {"athlete": str(RUNNER.athlete_id)}))
    assert {key: query[key] for key in ("keep", "scope", "state")} == {
        "keep": "1",
        "scope": "read,activity:read_all",
        "state": "a&b",
    }
    answer: Any = exchange(client, query["code"]).json
    assert answer["athlete"]["id"] == RUNNER.athlete_id


def test_without_a_choice_the_first_athlete_is_taken(client: FlaskClient) -> None:
    query = redirected(client.get("/oauth/authorize", query_string=ASK))
    answer: Any = exchange(client, query["code"]).json
    assert answer["athlete"]["id"] == CYCLIST.athlete_id


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"client_id": "8"}, ("Application", "client_id")),
        ({"redirect_uri": "javascript:alert(1)"}, ("Application", "redirect_uri")),
        ({"response_type": "token"}, ("Authorize", "response_type")),
        ({"scope": "read,everything"}, ("Authorize", "scope")),
        ({"scope": ""}, ("Authorize", "scope")),
        ({"athlete": "12"}, ("Athlete", "id")),
    ],
)
def test_a_wrong_ask_is_refused(client: FlaskClient, wrong: dict[str, str], error: tuple[str, str]) -> None:
    status, (found,) = errors(client.get("/oauth/authorize", query_string=ASK | wrong))
    assert (status, found["resource"], found["field"]) == (400, *error)


def test_a_browser_gets_a_page_with_all_choices(client: FlaskClient) -> None:
    answer = client.get("/oauth/authorize", query_string=ASK, headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 200
    for shown in (f'value="{CYCLIST.athlete_id}"', f'value="{RUNNER.athlete_id}"', 'value="activity:read_all" checked'):
        assert shown in answer.text
    assert 'name="state" value="a&amp;b"' in answer.text


def test_unticked_scopes_are_not_granted(client: FlaskClient) -> None:
    form = {**ASK, "athlete": str(RUNNER.athlete_id), "allow": ["read"], "decision": "authorize"}
    query = redirected(client.post("/oauth/authorize", data=form))
    assert query["scope"] == "read"
    tokens: Any = exchange(client, query["code"]).json
    assert Caller(client, tokens).get("/athlete/activities").status_code == 401


def test_cancel_denies_access(client: FlaskClient) -> None:
    query = redirected(client.post("/oauth/authorize", data={**ASK, "decision": "cancel"}))
    assert query == {"keep": "1", "state": "a&b", "error": "access_denied"}


def test_the_token_answer_has_stravas_shape(client: FlaskClient) -> None:
    body: Any = exchange(client, code_for(client, CYCLIST.athlete_id)).json
    assert list(body) == ["token_type", "expires_at", "expires_in", "refresh_token", "access_token", "athlete"]
    assert (body["expires_at"], body["expires_in"]) == (int(NOON) + 21_600, 21_600)
    assert body["athlete"]["resource_state"] == 2
    assert "weight" not in body["athlete"]


def test_a_code_used_twice_is_refused(client: FlaskClient) -> None:
    code = code_for(client, CYCLIST.athlete_id)
    assert exchange(client, code).status_code == 200
    expected = [{"resource": "RequestToken", "field": "code", "code": "invalid"}]
    assert errors(exchange(client, code)) == (400, expected)


def test_a_refresh_gives_a_pair_without_athlete(client: FlaskClient, cyclist: Caller, clock: Clock) -> None:
    clock.now += 21_600
    assert cyclist.get("/athlete").status_code == 401
    body: Any = refresh(client, cyclist.tokens["refresh_token"]).json
    assert list(body) == ["token_type", "refresh_token", "access_token", "expires_at", "expires_in"]
    assert Caller(client, body).get("/athlete").status_code == 200
    expected = [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]
    assert errors(refresh(client, cyclist.tokens["refresh_token"])) == (400, expected)


@pytest.mark.parametrize(
    ("credentials", "status", "resource", "field"),
    [
        ({"client_id": "8"}, 400, "Application", "client_id"),
        ({"client_secret": "wrong"}, 401, "Application", ""),
        ({"grant_type": "password"}, 400, "Application", "grant_type"),
    ],
)
def test_a_wrong_app_gets_no_token(
    client: FlaskClient, credentials: dict[str, str], status: int, resource: str, field: str
) -> None:
    form = {**APP, "grant_type": "authorization_code", "code": code_for(client, CYCLIST.athlete_id)}
    answered, (found,) = errors(client.post("/oauth/token", data=form | credentials))
    assert (answered, found["resource"], found["field"]) == (status, resource, field)
    assert exchange(client, form["code"]).status_code == 200, "the code is not used up"


def test_deauthorize_ends_the_grant(client: FlaskClient, cyclist: Caller) -> None:
    token = cyclist.tokens["access_token"]
    assert client.post("/oauth/deauthorize", data={"access_token": token}).json == {"access_token": token}
    assert cyclist.get("/athlete").status_code == 401
    assert client.post("/oauth/deauthorize", data={"access_token": token}).status_code == 401


def test_revoke_answers_200_even_when_the_grant_is_gone(client: FlaskClient, cyclist: Caller) -> None:
    basic = {"Authorization": f"Basic {b64encode(b'7:app-secret').decode()}"}
    form = {"token": cyclist.tokens["refresh_token"]}
    assert client.post("/oauth/revoke", data=form).status_code == 401
    assert client.post("/oauth/revoke", data=form, headers=basic).status_code == 200
    assert cyclist.get("/athlete").status_code == 401
    assert client.post("/oauth/revoke", data=form, headers=basic).status_code == 200
