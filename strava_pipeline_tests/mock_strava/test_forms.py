from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.config import Form
from strava_pipeline_tests.mock_strava.callers import code_for, exchange

BASIC = {"Authorization": f"Basic {b64encode(b'7:app-secret').decode()}"}


@pytest.fixture
def later(make_client: Callable[..., FlaskClient]) -> FlaskClient:
    return make_client(form=Form.API_OF_2027, months=1)


@pytest.fixture
def tokens(later: FlaskClient) -> dict[str, Any]:
    issued: dict[str, Any] = exchange(later, code_for(later, CYCLIST.athlete_id)).json or {}
    return issued


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


@pytest.mark.parametrize("path", ["/athlete", "/athlete/activities", "/athlete/zones", "/gear/b12860417"])
def test_in_2027_the_api_has_no_prefix(later: FlaskClient, tokens: dict[str, Any], path: str) -> None:
    assert later.get(path, headers=bearer(tokens)).status_code == 200
    assert later.get(f"/api/v3{path}", headers=bearer(tokens)).status_code == 404


def test_in_2027_calls_are_counted_as_ever(later: FlaskClient, tokens: dict[str, Any]) -> None:
    later.get("/athlete", headers=bearer(tokens))
    later.get("/mock/calls")
    assert later.get("/athlete", headers=bearer(tokens)).headers["X-ReadRateLimit-Usage"] == "2,2"


@pytest.mark.parametrize("with_header", [True, False])
def test_in_2027_a_token_outside_the_header_spoils_the_call(
    later: FlaskClient, tokens: dict[str, Any], with_header: bool
) -> None:
    headers = bearer(tokens) if with_header else {}
    query = {"access_token": tokens["access_token"]}
    assert later.get("/athlete", query_string=query, headers=headers).status_code == 401
    assert later.get("/athlete", data=query, headers=headers).status_code == 401
    assert later.get("/athlete", headers=bearer(tokens)).status_code == 200


def test_in_2027_revoke_takes_the_place_of_deauthorize(later: FlaskClient, tokens: dict[str, Any]) -> None:
    form = {"access_token": tokens["access_token"]}
    assert later.post("/oauth/deauthorize", data=form).status_code == 404
    assert later.post("/oauth/deauthorize", headers=bearer(tokens)).status_code == 404
    assert later.get("/athlete", headers=bearer(tokens)).status_code == 200
    assert later.post("/oauth/revoke", data={"token": tokens["access_token"]}, headers=BASIC).status_code == 200
    assert later.get("/athlete", headers=bearer(tokens)).status_code == 401


def test_faults_are_scripted_by_the_paths_of_the_form(later: FlaskClient, tokens: dict[str, Any]) -> None:
    later.post("/mock/faults", json={"path": "/athlete", "fault": "app_inactive"})
    assert later.get("/athlete", headers=bearer(tokens)).status_code == 403
