"""A token that is known not to work, and is not refreshed now, costs no request; a patient call waits for another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from strava_pipeline.errors import RefreshDelayed, StravaAway
from strava_pipeline.secret import Secret
from strava_pipeline.strava.transport import Transport
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.strava.stand_ins import NOW, MemoryLedger, MemoryTokens

ATHLETE = 4_000_000_101
SINCE, LATER = NOW - timedelta(hours=1), NOW + timedelta(minutes=4)
AWAY = StravaAway("OAuth does not answer", since=SINCE, retry_at=LATER, refreshes_only=True)
DELAYED = RefreshDelayed("the refresh failed just now", retry_at=LATER)


@pytest.fixture
def refused(tokens: MemoryTokens, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Errors for the next looks at the token."""
    errors: list[Exception] = []
    read = tokens.access_token

    def access_token(athlete_id: int) -> Secret:
        if errors:
            raise errors.pop(0)
        return read(athlete_id)

    monkeypatch.setattr(tokens, "access_token", access_token)
    return errors


@pytest.mark.parametrize("error", [AWAY, DELAYED])
def test_nothing_is_booked_or_sent(
    api: Transport, strava: Loopback, ledger: MemoryLedger, refused: list[Exception], error: Exception
) -> None:
    refused.append(error)
    with pytest.raises(type(error)) as caught:
        api.get(ATHLETE, "/athlete")
    assert caught.value is error
    assert (strava.asked, ledger.booked, ledger.released) == ([], [], [])


@pytest.mark.parametrize("error", [AWAY, DELAYED])
def test_a_patient_call_waits_until_the_next_refresh_may_be_sent(
    api: Transport, strava: Loopback, ledger: MemoryLedger, refused: list[Exception], error: Exception
) -> None:
    refused += [error, error]
    assert replace(api, outage_patience=timedelta(hours=1)).get(ATHLETE, "/athlete") == {}
    assert [wait for _, wait in ledger.paused] == [240, 240]
    assert len(strava.asked) == 1


@pytest.mark.parametrize(("error", "since"), [(AWAY, SINCE), (DELAYED, None)])
def test_who_gives_up_says_that_it_concerns_only_those_without_a_good_token(
    api: Transport, refused: list[Exception], error: Exception, since: object
) -> None:
    refused.append(error)
    with pytest.raises(StravaAway, match=f"gave up after 0.0167 h: {error}") as caught:
        replace(api, outage_patience=timedelta(minutes=1)).get(ATHLETE, "/athlete")
    assert (caught.value.refreshes_only, caught.value.since, caught.value.retry_at) == (True, since, LATER)


def test_an_api_that_is_away_concerns_all_whose_call_gives_up(api: Transport, refused: list[Exception]) -> None:
    refused.append(StravaAway("Strava does not answer", since=SINCE, retry_at=LATER))
    with pytest.raises(StravaAway) as caught:
        replace(api, outage_patience=timedelta(minutes=1)).get(ATHLETE, "/athlete")
    assert not caught.value.refreshes_only
