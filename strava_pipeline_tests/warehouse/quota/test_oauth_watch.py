"""While Strava's OAuth answers nobody, one caller at a time tries; what a person waits for is sent in any case."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseUnavailable, NeedsReauthorization, RetriableStravaError, StravaAway
from strava_pipeline.strava.quota.outage import ANSWERED, CALLS, LONGEST_CALL, Outage, Service
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota import oauth_watch
from strava_pipeline.warehouse.quota.oauth_watch import oauth_turn
from strava_pipeline.warehouse.quota.outages import load_outage, store_outage

UNANSWERED = RetriableStravaError("refresh: Strava cannot be reached: no connection", answered=False)


def stored(engine: Engine) -> Outage:
    with engine.connect() as connection:
        return load_outage(connection, Service.OAUTH)


def store(engine: Engine, state: Outage) -> None:
    with engine.begin() as connection:
        store_outage(connection, Service.OAUTH, state)


def away(engine: Engine, probe_in: timedelta) -> None:
    with engine.connect() as connection:
        moment = now(connection)
    state = Outage(CALLS, moment, several=True, hosts=("a",), away_since=moment, probe_at=moment + probe_in)
    store(engine, state)


def call(engine: Engine, error: Exception | None = None, *, always: bool = False) -> None:
    def ask() -> None:
        if error is not None:
            raise error

    with oauth_turn(engine, always=always, host="a") as turn:
        turn.watched(ask)()


def fail(engine: Engine, *, always: bool = False) -> None:
    with pytest.raises(RetriableStravaError, match="no connection"):
        call(engine, UNANSWERED, always=always)


def test_any_five_over_thirty_seconds_are_an_outage(engine: Engine) -> None:
    for _ in range(CALLS - 1):
        fail(engine)
    assert not stored(engine).is_away
    with engine.connect() as connection:
        began = now(connection) - timedelta(seconds=31)
    store(engine, Outage(CALLS - 1, began, several=True, hosts=("a",)))
    fail(engine)
    assert stored(engine).away_since == began
    with pytest.raises(StravaAway, match=r"Strava's OAuth does not answer since .* \(Strava cannot be reached: no"):
        call(engine)


def test_one_caller_probes_and_its_answer_lets_all_go_on(engine: Engine) -> None:
    away(engine, -timedelta(seconds=1))
    with oauth_turn(engine, host="a") as turn:
        assert turn.is_probe
        with pytest.raises(StravaAway) as caught:
            call(engine)
        assert caught.value.retry_at == turn.began_at + LONGEST_CALL
        turn.watched(lambda: None)()
    assert stored(engine) == ANSWERED
    call(engine)


def test_a_refusal_by_strava_is_an_answer(engine: Engine) -> None:
    away(engine, -timedelta(seconds=1))
    with pytest.raises(NeedsReauthorization):
        call(engine, NeedsReauthorization("RefreshToken invalid", status=400))
    assert stored(engine) == ANSWERED


def test_a_probe_that_fails_makes_the_pause_longer(engine: Engine) -> None:
    away(engine, -timedelta(seconds=1))
    fail(engine)
    assert stored(engine).pause_s == 10


def test_a_turn_in_which_nothing_was_sent_is_left_to_the_next_caller(engine: Engine) -> None:
    away(engine, -timedelta(seconds=1))
    with oauth_turn(engine, host="a"):
        pass  # another process had refreshed meanwhile
    with oauth_turn(engine, host="a") as turn:
        assert turn.is_probe


def test_what_a_person_waits_for_is_sent_in_any_case_and_its_answer_counts(engine: Engine) -> None:
    away(engine, timedelta(minutes=4))
    before = stored(engine).probe_at
    fail(engine, always=True)
    assert stored(engine).probe_at == before
    call(engine, always=True)
    assert stored(engine) == ANSWERED


def test_a_fault_of_ours_is_neither_an_answer_nor_its_lack(engine: Engine) -> None:
    away(engine, timedelta(minutes=4))
    before = stored(engine)
    with pytest.raises(ZeroDivisionError):
        call(engine, ZeroDivisionError(), always=True)
    assert stored(engine) == before


def test_a_database_that_is_away_when_it_is_noted_changes_nothing_for_the_caller(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away_now(*_: object) -> None:
        raise DatabaseUnavailable("the database at h/d is away")

    monkeypatch.setattr(oauth_watch, "_note", away_now)
    call(engine)
    assert "whether Strava's OAuth answered is not noted: the database at h/d is away" in caplog.text
