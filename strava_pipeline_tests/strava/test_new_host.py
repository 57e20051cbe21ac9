"""Which address is Strava's API: the one that asks for a token in Strava's words."""

from __future__ import annotations

import pytest

from strava_pipeline.strava.new_host import SPELLINGS, probe_api, uses_old_host
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Loopback, Reply


def test_an_api_that_asks_for_a_token_is_stravas_and_gets_none() -> None:
    with Loopback() as strava:
        strava.answers(UNAUTHORIZED)
        found = probe_api(strava.url)
    assert found.is_api
    assert found.told == "answers, and asks for a token (401)"
    (asked,) = strava.asked
    assert asked.path == "/athlete"
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize(
    "reply", [Reply(401, b"<html>log in to the hotel</html>"), Reply(404, b"{}"), Reply(200, b"{}"), Reply(503)]
)
def test_anything_else_that_answers_is_not(reply: Reply) -> None:
    with Loopback() as other:
        other.answers(reply)
        found = probe_api(other.url)
    assert not found.is_api
    assert found.told.startswith(f"answers {reply.status}, ")


def test_a_host_that_does_not_answer_is_told_with_the_reason() -> None:
    found = probe_api(f"http://127.0.0.1:{free_port()}")
    assert (found.is_api, found.told) == (False, "no connection")


@pytest.mark.parametrize(
    ("url", "is_old"),
    [
        ("https://www.strava.com/api/v3", True),
        (SPELLINGS[0], False),
        (SPELLINGS[1], False),
        ("http://127.0.0.1:9/api/v3", False),
    ],
)
def test_only_stravas_own_old_address_has_to_change(url: str, is_old: bool) -> None:
    assert uses_old_host(url) is is_old
