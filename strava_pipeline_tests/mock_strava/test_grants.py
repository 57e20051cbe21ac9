from __future__ import annotations

from collections.abc import Callable

import pytest

from strava_pipeline.mock_strava.grants import ALL_READING, Grants
from strava_pipeline.mock_strava.refusals import Refused
from strava_pipeline_tests.mock_strava.callers import Clock

ATHLETE = 11
TOKEN_S = 21_600


@pytest.fixture
def grants(clock: Clock) -> Grants:
    return Grants(TOKEN_S, clock)


def refusal(call: Callable[[], object]) -> tuple[int, str, str]:
    """Status, resource and code of the refusal."""
    with pytest.raises(Refused) as refused:
        call()
    (error,) = refused.value.body["errors"]
    return refused.value.status, error["resource"], error["code"]


def test_a_code_works_once(grants: Grants) -> None:
    code = grants.new_code(ATHLETE, ALL_READING)
    assert grants.exchange(code).athlete_id == ATHLETE
    assert refusal(lambda: grants.exchange(code)) == (400, "RequestToken", "invalid")


def test_a_code_ends_after_ten_minutes(grants: Grants, clock: Clock) -> None:
    code = grants.new_code(ATHLETE, ALL_READING)
    clock.now += 601
    assert refusal(lambda: grants.exchange(code)) == (400, "AuthorizationCode", "expired")


def test_a_lasting_code_stays_until_it_is_used(grants: Grants, clock: Clock) -> None:
    code = grants.new_lasting_code(ATHLETE)
    clock.now += 10**9
    assert grants.exchange(code).scopes == ALL_READING
    assert refusal(lambda: grants.exchange(code)) == (400, "RequestToken", "invalid")


def test_an_access_token_ends(grants: Grants, clock: Clock) -> None:
    grant = grants.exchange(grants.new_lasting_code(ATHLETE))
    clock.now += TOKEN_S - 1
    assert grants.find_by_access_token(grant.access_token) is grant
    clock.now += 1
    assert refusal(lambda: grants.find_by_access_token(grant.access_token)) == (401, "Athlete", "invalid")


def test_with_more_than_an_hour_left_a_refresh_changes_nothing(grants: Grants, clock: Clock) -> None:
    grant = grants.exchange(grants.new_lasting_code(ATHLETE))
    clock.now += TOKEN_S - 3601
    assert grants.refresh(grant.refresh_token) is grant


def test_a_refresh_rotates_both_tokens_and_the_old_access_token_lives_on(grants: Grants, clock: Clock) -> None:
    old = grants.exchange(grants.new_lasting_code(ATHLETE))
    clock.now += TOKEN_S - 3600
    new = grants.refresh(old.refresh_token)
    assert {old.access_token, old.refresh_token}.isdisjoint({new.access_token, new.refresh_token})
    assert refusal(lambda: grants.refresh(old.refresh_token)) == (400, "RefreshToken", "invalid")
    assert grants.find_by_access_token(old.access_token).athlete_id == ATHLETE
    clock.now += 3600
    assert refusal(lambda: grants.find_by_access_token(old.access_token)) == (401, "Athlete", "invalid")
    assert grants.find_by_access_token(new.access_token) is new


def test_expired_tokens_can_be_refreshed(grants: Grants) -> None:
    old = grants.exchange(grants.new_lasting_code(ATHLETE))
    grants.expire(ATHLETE)
    assert refusal(lambda: grants.find_by_access_token(old.access_token)) == (401, "Athlete", "invalid")
    assert grants.find_by_access_token(grants.refresh(old.refresh_token).access_token).athlete_id == ATHLETE


def test_a_revoked_grant_is_gone_whole(grants: Grants, clock: Clock) -> None:
    first = grants.exchange(grants.new_lasting_code(ATHLETE))
    clock.now += TOKEN_S - 60
    second = grants.refresh(first.refresh_token)
    grants.revoke(ATHLETE)
    for token in (first.access_token, second.access_token):
        assert refusal(lambda token=token: grants.find_by_access_token(token)) == (401, "Athlete", "invalid")  # type: ignore[misc]  # binds the loop's value
    assert refusal(lambda: grants.refresh(second.refresh_token)) == (400, "RefreshToken", "invalid")
