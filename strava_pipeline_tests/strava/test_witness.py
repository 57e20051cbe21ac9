"""Calls without an answer: a witness tells an odd activity from an outage, and an outage is waited out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from strava_pipeline.errors import AppInactive, NotAnswered, RefreshDelayed, StravaAway, StravaError
from strava_pipeline.secret import Secret
from strava_pipeline.strava import transport
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.strava.quota.windows import Reservation
from strava_pipeline.strava.transport import Transport
from strava_pipeline_tests.strava.loopback import INACTIVE, UNAUTHORIZED, Asked, Loopback, Raw, Reply, reply
from strava_pipeline_tests.strava.stand_ins import NOW, MemoryLedger, MemoryTokens

ATHLETE = 4_000_000_101


def asked(strava: Loopback) -> list[str]:
    return [asked.path.removeprefix("/api/v3") for asked in strava.asked]


@pytest.fixture
def patient(api: Transport, without_waits: None) -> Transport:
    """A transport that waits out an outage of a day."""
    return replace(api, outage_patience=timedelta(hours=24))


def odd(path: str) -> Callable[[Asked], Reply]:
    """Strava answers for everything but this."""
    return lambda asked: reply({}, 500) if asked.path.endswith(path) else reply({"id": 7})


@pytest.mark.parametrize("hours", [0, 24])
@pytest.mark.parametrize(("path", "witness"), [("/activities/12", "/athlete"), ("/athlete", "/athlete/activities")])
def test_an_odd_activity_is_told_by_a_witness(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, hours: int, path: str, witness: str
) -> None:
    strava.answer = odd(path)
    with pytest.raises(NotAnswered, match=f"GET {path} of athlete {ATHLETE}: Strava answered 500") as caught:
        replace(api, outage_patience=timedelta(hours=hours)).get(ATHLETE, path)
    assert caught.value.status == 500
    assert asked(strava) == [path] * 4 + [witness, path]
    assert ledger.paused == []
    assert [outcome.answered for _, outcome in ledger.settled] == [False] * 4 + [True, False]


@pytest.mark.parametrize("hours", [0, 24])
def test_an_outage_that_ends_with_the_witness_is_no_fault_of_the_activity(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, hours: int
) -> None:
    strava.answers(*[reply({}, 503)] * 4, reply({"id": 1}), reply({"id": 7}))
    assert replace(api, outage_patience=timedelta(hours=hours)).get(ATHLETE, "/activities/12") == {"id": 7}
    assert ledger.statuses == [503] * 4 + [200] * 2
    assert ledger.paused == []


def test_a_token_that_expired_meanwhile_is_refreshed_for_the_last_try(
    without_waits: None, api: Transport, strava: Loopback
) -> None:
    strava.answers(*[reply({}, 503)] * 4, UNAUTHORIZED, UNAUTHORIZED, reply({"id": 7}))
    assert api.get(ATHLETE, "/activities/12") == {"id": 7}
    assert strava.bearers == ["token-1"] * 6 + ["token-2"]


def test_what_hangs_once_more_does_not_hold_up_the_call_as_long_as_before(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_ONCE_MORE", replace(transport._ONCE_MORE, budget_s=0.2))
    hangs = Raw(lambda: iter([]), hang_up=False)
    strava.answers(*[reply({}, 503)] * 4, reply({"id": 1}), hangs)
    with pytest.raises(NotAnswered, match="no whole answer in time"):
        api.get(ATHLETE, "/activities/12")
    assert ledger.statuses == [503] * 4 + [200, None]


def test_a_last_try_that_waited_for_the_end_of_another_outage_tells_nothing(
    patient: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "reserve", waits_at(ledger, 6))
    strava.answers(*[reply({}, 503)] * 4, reply({"id": 1}), reply({}, 503), reply({"id": 1}), reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}
    assert asked(strava)[4:] == ["/athlete", "/activities/12", "/athlete", "/activities/12"]


def test_a_refusal_of_the_witness_is_an_answer_as_well(
    without_waits: None, api: Transport, strava: Loopback, tokens: MemoryTokens
) -> None:
    strava.answer = lambda asked: reply({}, 500) if "12" in asked.path else UNAUTHORIZED
    with pytest.raises(NotAnswered):
        api.get(ATHLETE, "/activities/12")
    assert tokens.refreshes == []


def test_without_an_answer_to_anybody_the_call_waits(
    patient: Transport, strava: Loopback, ledger: MemoryLedger
) -> None:
    strava.answers(*[reply({}, 503)] * 9, reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}
    one_round = ["/activities/12", "/athlete"]
    assert asked(strava) == ["/activities/12"] * 3 + one_round + one_round + one_round + ["/activities/12"]
    assert [wait for _, wait in ledger.paused] == [5, 10, 20]
    assert {why for why, _ in ledger.paused} == {"Strava does not answer (503 no fault body)"}


def test_what_is_odd_only_while_strava_comes_back_is_asked_for_in_earnest_once_more(
    patient: Transport, strava: Loopback
) -> None:
    #                     one round without an answer   a short one, whose witness is answered, and a whole one
    strava.answers(*[reply({}, 503)] * 5, reply({}, 503), reply({"id": 1}), *[reply({}, 500)] * 3, reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}


def test_without_patience_the_call_says_that_nobody_gets_an_answer(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger
) -> None:
    strava.answers(reply({}, 503))
    with pytest.raises(StravaAway, match="Strava answered 503") as caught:
        api.get(ATHLETE, "/activities/12")
    assert (caught.value.since, caught.value.retry_at, caught.value.status) == (None, None, 503)
    assert len(ledger.booked) == 5


def test_patience_used_up_tells_since_when(patient: Transport, strava: Loopback, ledger: MemoryLedger) -> None:
    since, retry_at = NOW - timedelta(days=1), NOW + timedelta(days=2)
    ledger.refusal = StravaAway("Strava does not answer since yesterday", since=since, retry_at=retry_at)
    with pytest.raises(StravaAway, match=r"^gave up after 24 h: Strava does not answer since yesterday$") as caught:
        patient.get(ATHLETE, "/athlete")
    assert (caught.value.since, caught.value.retry_at) == (since, retry_at)
    assert asked(strava) == []


def test_patience_ends_before_an_outage_is_known_to_all(patient: Transport, strava: Loopback) -> None:
    strava.answers(reply({}, 503))
    with pytest.raises(StravaAway, match=r"^gave up after 0\.0167 h: GET /activities/12 of .*: Strava answered 503"):
        replace(patient, outage_patience=timedelta(minutes=1)).get(ATHLETE, "/activities/12")


def waits_at(ledger: MemoryLedger, *places: int) -> Callable[..., Reservation]:
    """A ledger's ``reserve`` that lets these calls wait a minute for the end of an outage."""
    reserve = ledger.reserve

    def waits(*args: Any, patience: Patience, **more: Any) -> Reservation:
        if len(ledger.booked) + 1 in places:
            patience.left_s -= 60
        return reserve(*args, patience=patience, **more)

    return waits


def test_a_witness_that_waited_for_the_end_of_an_outage_says_nothing_of_the_call_before(
    patient: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "reserve", waits_at(ledger, 5))
    strava.answers(*[reply({}, 503)] * 4, reply({"id": 1}), *[reply({}, 503)] * 3, reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}
    assert asked(strava) == ["/activities/12"] * 4 + ["/athlete"] + ["/activities/12"] * 4


def test_while_an_outage_is_known_to_all_call_and_witness_probe_in_turn_and_the_ledger_waits(
    patient: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "reserve", waits_at(ledger, 5, 6, 7, 8))
    strava.answers(*[reply({}, 503)] * 7, reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}
    assert asked(strava)[3:] == ["/activities/12", "/athlete", "/activities/12", "/athlete", "/activities/12"]
    assert ledger.paused == []


def test_one_endpoint_that_does_not_answer_keeps_nobody_from_the_others(
    patient: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "reserve", waits_at(ledger, 5))
    strava.answer = odd("/athlete/activities")
    with pytest.raises(NotAnswered):
        patient.get(ATHLETE, "/athlete/activities")
    one_round = ["/athlete/activities"] * 4 + ["/athlete"]
    assert asked(strava) == one_round * 2 + ["/athlete/activities"]


def test_without_patience_an_outage_that_is_known_meanwhile_is_told(
    without_waits: None, api: Transport, strava: Loopback, ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known_meanwhile(*_: Any, **__: Any) -> Reservation:
        raise StravaAway("away", since=NOW, retry_at=NOW)

    def answer(_: Asked) -> Reply:
        if len(ledger.booked) == 4:
            monkeypatch.setattr(ledger, "reserve", known_meanwhile)
        return reply({}, 503)

    strava.answer = answer
    with pytest.raises(StravaAway) as caught:
        api.get(ATHLETE, "/activities/12")
    assert (caught.value.since, caught.value.retry_at) == (NOW, NOW)


def test_an_app_that_is_switched_off_is_waited_out(patient: Transport, strava: Loopback, api: Transport) -> None:
    strava.answers(INACTIVE, reply({"id": 7}))
    assert patient.get(ATHLETE, "/athlete") == {"id": 7}
    strava.answers(INACTIVE)
    with pytest.raises(AppInactive):
        api.get(ATHLETE, "/athlete")


@pytest.mark.parametrize("kind", [RefreshDelayed, partial(StravaAway, since=NOW)])
def test_an_oauth_that_does_not_answer_is_waited_out(
    patient: Transport,
    strava: Loopback,
    ledger: MemoryLedger,
    tokens: MemoryTokens,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[..., StravaError],
) -> None:
    refresh = tokens.refresh_once

    def fails_once(*args: Any) -> Secret:
        monkeypatch.setattr(tokens, "refresh_once", refresh)
        raise kind("the refresh got no answer", retry_at=NOW + timedelta(seconds=30))

    monkeypatch.setattr(tokens, "refresh_once", fails_once)
    strava.answers(UNAUTHORIZED, UNAUTHORIZED, reply({"id": 7}))
    assert patient.get(ATHLETE, "/activities/12") == {"id": 7}
    assert asked(strava) == ["/activities/12"] * 3, "no witness: the API answers"
    assert ledger.paused == [("the refresh got no answer", 30)]


def test_without_patience_a_refresh_that_fails_ends_the_call_at_once(
    api: Transport, strava: Loopback, ledger: MemoryLedger, tokens: MemoryTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Secret:
        raise RefreshDelayed("the refresh got no answer", retry_at=NOW)

    monkeypatch.setattr(tokens, "refresh_once", fails)
    strava.answers(UNAUTHORIZED)
    with pytest.raises(RefreshDelayed):
        api.get(ATHLETE, "/athlete")
    assert ledger.statuses == [401]
