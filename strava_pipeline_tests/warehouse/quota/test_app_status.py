"""A switched-off app stops every process, but for one probe an hour, and comes back by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import AppInactive
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.outage import APP_PROBE_EVERY
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Reservation
from strava_pipeline.warehouse.quota.app_status import (
    begin_probe,
    inactive_error,
    load_status,
    note_active,
    note_inactive,
)
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.schema.quota_tables import api_calls, app_status

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INACTIVE = CallOutcome(status=403, duration_ms=1, answered=True, app_inactive="Forbidden (Application Status Inactive)")


@pytest.fixture
def ledger(engine: Engine, settings: Settings) -> PostgresLedger:
    return PostgresLedger(engine, RateLimits.from_settings(settings))


def reserve(ledger: PostgresLedger) -> Reservation:
    return ledger.reserve(Lane.LIVE, "/athlete", 5, longest=timedelta(seconds=30), max_wait=timedelta(0))


def make_probe_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(app_status.update().values(probe_at=datetime(2020, 1, 1, tzinfo=UTC)))


def test_nothing_is_stopped_while_nothing_is_known(engine: Engine) -> None:
    with engine.begin() as connection:
        assert inactive_error(load_status(connection), NOON) is None


def test_one_answer_stops_every_process_before_its_next_request(engine: Engine, ledger: PostgresLedger) -> None:
    ledger.settle(reserve(ledger), INACTIVE)
    other = PostgresLedger(engine, ledger._rate_limits)
    with pytest.raises(AppInactive, match="owner needs a Strava subscription; tried again at"):
        reserve(other)
    with engine.connect() as connection:
        assert len(connection.execute(select(api_calls)).all()) == 1


def test_one_call_an_hour_is_the_probe(engine: Engine) -> None:
    with engine.begin() as connection:
        note_inactive(connection, "Forbidden", NOON)
        early = inactive_error(load_status(connection), NOON + APP_PROBE_EVERY - timedelta(seconds=1))
        assert early is not None
        assert early.retry_at == NOON + APP_PROBE_EVERY
        due = NOON + APP_PROBE_EVERY
        assert inactive_error(load_status(connection), due) is None
        assert inactive_error(load_status(connection), due) is None, "a call without room leaves the probe to the next"
        begin_probe(connection, due)
        assert inactive_error(load_status(connection), due + timedelta(minutes=59)) is not None
        assert inactive_error(load_status(connection), due + APP_PROBE_EVERY) is None


def test_a_probe_that_was_not_sent_is_left_to_the_next_call(engine: Engine, ledger: PostgresLedger) -> None:
    ledger.settle(reserve(ledger), INACTIVE)
    make_probe_due(engine)
    ledger.release(reserve(ledger))
    assert reserve(ledger).is_probe


@pytest.mark.parametrize("status", [200, 404])
def test_a_probe_that_is_answered_switches_everything_on_again(
    ledger: PostgresLedger, engine: Engine, status: int
) -> None:
    ledger.settle(reserve(ledger), INACTIVE)
    make_probe_due(engine)
    probe = reserve(ledger)
    assert probe.is_probe
    with pytest.raises(AppInactive):
        reserve(ledger)
    ledger.settle(probe, CallOutcome(status=status, duration_ms=1, answered=True))
    assert reserve(ledger).is_probe is False


@pytest.mark.parametrize(
    "outcome",
    [
        INACTIVE,
        CallOutcome(status=None, duration_ms=1, answered=False),
        CallOutcome(status=503, duration_ms=1, answered=False),
        # A gateway's pages.
        CallOutcome(status=404, duration_ms=1, answered=False),
        CallOutcome(status=200, duration_ms=1, answered=False),
    ],
)
def test_a_probe_that_fails_leaves_the_app_off_since_the_first_answer(
    engine: Engine, ledger: PostgresLedger, outcome: CallOutcome
) -> None:
    ledger.settle(reserve(ledger), INACTIVE)
    with engine.connect() as connection:
        since = connection.execute(select(app_status.c.inactive_since)).scalar_one()
    make_probe_due(engine)
    ledger.settle(reserve(ledger), outcome)
    with pytest.raises(AppInactive):
        reserve(ledger)
    with engine.connect() as connection:
        assert connection.execute(select(app_status.c.inactive_since)).scalar_one() == since


def test_switching_on_what_is_on_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        note_active(connection)
        assert inactive_error(load_status(connection), NOON) is None
