"""While Strava answers nobody, one call at a time tries, the others wait, and all go on with the first answer."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from strava_pipeline.errors import AppInactive, QuotaExhausted, StravaAway
from strava_pipeline.strava.quota.outage import APP_PROBE_EVERY, CALLS, LONGEST_CALL, Patience, Service
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Reservation
from strava_pipeline.warehouse.quota.app_status import note_inactive
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.outages import load_outage
from strava_pipeline_tests.warehouse.quota.ledgers import CALL, Clock, answered, booked, open_ledger
from strava_pipeline_tests.warehouse.quota.ledgers import NOON as QUARTER_START

UNANSWERED = CallOutcome(None, 1.0, answered=False, reason="Strava cannot be reached: no connection")
SECOND = timedelta(seconds=1)


@pytest.fixture
def ledger(engine: Engine, clock: Clock) -> PostgresLedger:
    return open_ledger(engine, clock, host="a")


def book(
    ledger: PostgresLedger,
    patience: Patience | None = None,
    activity_id: int | None = None,
    max_wait: timedelta = timedelta(0),
) -> Reservation:
    return ledger.reserve(
        Lane.BACKFILL,
        "/activities/{id}",
        7,
        longest=CALL,
        max_wait=max_wait,
        activity_id=activity_id,
        patience=patience,
    )


def day() -> Patience:
    return Patience(timedelta(hours=24).total_seconds())


def fail(ledger: PostgresLedger, clock: Clock, calls: int = CALLS, activity_id: int | None = None) -> None:
    """Calls fail, one each eight seconds."""
    for _ in range(calls):
        reservation = book(ledger, activity_id=activity_id)
        clock.moment += 8 * SECOND
        ledger.settle(reservation, UNANSWERED)


def refused(ledger: PostgresLedger) -> StravaAway:
    with pytest.raises(StravaAway) as caught:
        book(ledger)
    return caught.value


def test_five_in_a_row_over_thirty_seconds_stop_everybody(engine: Engine, clock: Clock, ledger: PostgresLedger) -> None:
    began = clock.moment
    fail(ledger, clock)
    for each in (ledger, open_ledger(engine, clock, host="a")):
        error = refused(each)
        assert (error.since, error.retry_at) == (began, clock.moment + 5 * SECOND)
        assert "Strava does not answer since 2025-06-10 12:05 UTC (Strava cannot be reached: no connection)" in str(
            error
        )


def test_an_answer_in_between_stops_nobody(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock, CALLS - 1)
    ledger.settle(book(ledger), answered(clock, answered=True))
    fail(ledger, clock, CALLS - 1)
    assert not book(ledger).is_probe


def test_one_odd_activity_stops_nobody(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock, 9, activity_id=12)
    assert not book(ledger).is_probe


def test_one_caller_probes_and_the_others_wait(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    clock.moment += 5 * SECOND
    assert book(ledger).is_probe
    assert refused(ledger).retry_at == clock.moment + LONGEST_CALL


def test_a_prober_that_died_is_followed_after_35_seconds(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    first = book(ledger, patience=day())
    second = book(ledger, patience=day())
    assert second.is_probe
    assert second.reserved_at - first.reserved_at == LONGEST_CALL


def test_a_probe_that_was_not_sent_is_left_to_the_next_call(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    ledger.release(book(ledger, patience=day()))
    assert book(ledger).is_probe


def test_pauses_grow_to_five_minutes(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    probes = []
    for _ in range(9):
        probe = book(ledger, patience=day())
        probes.append(probe.reserved_at)
        ledger.settle(probe, UNANSWERED)
    pauses = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(probes)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]


def test_one_answer_lets_all_go_on(
    engine: Engine, clock: Clock, ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    fail(ledger, clock)
    probe = book(ledger, patience=day())
    clock.moment += timedelta(minutes=62)
    ledger.settle(probe, answered(clock, answered=True))
    assert not book(open_ledger(engine, clock)).is_probe
    assert "Strava answers again after 63 min" in caplog.text


def test_an_answer_from_before_the_outage_ends_it_as_well(clock: Clock, ledger: PostgresLedger) -> None:
    early = book(ledger)
    fail(ledger, clock)
    ledger.settle(early, answered(clock, answered=True))
    assert not book(ledger).is_probe


def test_a_429_of_somebody_in_between_neither_opens_nor_ends_it(
    engine: Engine, clock: Clock, ledger: PostgresLedger
) -> None:
    fail(ledger, clock)
    with engine.connect() as connection:
        before = load_outage(connection, Service.API)
    probe = book(ledger, patience=day())
    ledger.settle(probe, answered(clock, 429, answered=None))
    with engine.connect() as connection:
        after = load_outage(connection, Service.API)
    assert (after.unanswered, after.away_since) == (before.unanswered, before.away_since)


def test_a_machine_without_network_stops_no_other(engine: Engine, clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    other = open_ledger(engine, clock, host="b")
    look = book(other)
    assert look.is_probe
    ledger_of_b_waits_for_its_look = refused(other)
    assert ledger_of_b_waits_for_its_look.retry_at == clock.moment + LONGEST_CALL
    ledger.settle(look, answered(clock, answered=True))
    assert not book(other).is_probe


def test_those_who_wait_go_on_within_a_slice_of_the_end(engine: Engine, clock: Clock) -> None:
    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 2:
            prober.settle(probe, answered(clock, answered=True))
            ended.append(clock.moment)

    ended: list[datetime] = []
    prober = open_ledger(engine, clock, host="a")
    fail(prober, clock)
    probe = book(prober, patience=day())
    clock.slept.clear()
    waiting = open_ledger(engine, clock, sleep=sleep, host="a")
    assert book(waiting, patience=day()).reserved_at - ended[0] <= 20 * SECOND


def test_patience_is_counted_apart_from_quota_and_ends(clock: Clock, ledger: PostgresLedger) -> None:
    fail(ledger, clock)
    began, patience = clock.moment, Patience(60.0)
    for _ in range(2):
        ledger.settle(book(ledger, patience=patience), UNANSWERED)
    with pytest.raises(StravaAway):
        book(ledger, patience=Patience(19.0))
    assert clock.moment - began == 15 * SECOND
    assert patience.left_s == 45.0


def test_a_wait_for_quota_uses_no_patience(engine: Engine, clock: Clock) -> None:
    ledger, patience = open_ledger(engine, clock, short=1), Patience(1.0)
    book(ledger)
    book(ledger, patience=patience, max_wait=timedelta(hours=1))
    assert patience.left_s == 1.0


def test_a_probe_needs_room_like_any_call(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock, short=CALLS, upkeep_share=1e-9)
    fail(ledger, clock)
    clock.moment += 5 * SECOND
    with pytest.raises(QuotaExhausted):
        book(ledger)
    with engine.connect() as connection:
        assert load_outage(connection, Service.API).probe_began_at is None
    assert booked(engine, QUARTER_START) == (CALLS,)


def test_an_inactive_app_is_waited_out(engine: Engine, clock: Clock, ledger: PostgresLedger) -> None:
    began = clock.moment
    with engine.begin() as connection:
        note_inactive(connection, "Forbidden (Application Status Inactive)", began)
    with pytest.raises(AppInactive) as caught:
        book(ledger, patience=Patience(APP_PROBE_EVERY.total_seconds() - 1))
    assert caught.value.retry_at == began + APP_PROBE_EVERY
    probe = book(ledger, patience=day())
    assert (probe.is_probe, probe.reserved_at) == (True, began + APP_PROBE_EVERY)


def test_waiting_is_logged_at_once_and_then_every_ten_minutes(
    clock: Clock, ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    fail(ledger, clock)
    began = clock.moment
    with caplog.at_level(logging.INFO):
        while clock.moment - began < timedelta(hours=1):
            ledger.settle(book(ledger, patience=day()), UNANSWERED)
    lines = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert 5 <= len(lines) <= 7
    assert lines[0].startswith("waiting 5 s: Strava does not answer since 2025-06-10 12:05 UTC (Strava cannot be")
    assert lines[0].endswith("tried again at 12:05:45 UTC (lane backfill, /activities/{id})")


def test_a_pause_goes_in_slices_uses_patience_and_leaves_the_outage_its_line(
    clock: Clock, ledger: PostgresLedger, caplog: pytest.LogCaptureFixture
) -> None:
    fail(ledger, clock, 1)
    began, patience = clock.moment, Patience(100.0)
    with caplog.at_level(logging.INFO):
        assert ledger.pause("Strava does not answer (503)", 50.0, patience, athlete_id=7)
        assert not ledger.pause("Strava does not answer (503)", 51.0, patience, athlete_id=7)
        until = clock.moment + timedelta(seconds=30)
        assert ledger.pause("the refresh failed", 5.0, patience, athlete_id=7, until=until)
        assert (clock.moment - began, patience.left_s) == (timedelta(seconds=80), 20.0)
        assert max(clock.slept) == 20
        fail(ledger, clock, CALLS - 1)
        book(ledger, patience=day())
    lines = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
    assert lines[0] == "waiting 50 s: Strava does not answer (503) (between two tries)"
    assert len(lines) == 2
    assert "Strava does not answer since" in lines[1]


def test_a_success_costs_no_further_statement(engine: Engine, clock: Clock, ledger: PostgresLedger) -> None:
    def statements(work: Callable[[], object]) -> list[str]:
        sent: list[str] = []

        def note(_: object, __: object, statement: str, *___: object) -> None:
            sent.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        work()
        event.remove(engine, "before_cursor_execute", note)
        return sent

    ledger.settle(book(ledger), answered(clock, answered=True))
    reservation = book(ledger)
    settled = statements(lambda: ledger.settle(reservation, answered(clock, answered=True)))
    reserved = statements(lambda: book(ledger))
    assert not [statement for statement in settled if "INSERT INTO ops.outages" in statement]
    assert sum("ops.outages" in statement for statement in (*settled, *reserved)) == 2  # read with the app's row
