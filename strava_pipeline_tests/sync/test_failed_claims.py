"""An event whose athlete's token cannot be refreshed waits, longer each time, and costs few requests meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from socket import gethostname

import pytest
from sqlalchemy import Engine

from strava_pipeline.errors import RefreshDelayed, StravaAway
from strava_pipeline.strava.quota.outage import ANSWERED, Outage, Service
from strava_pipeline.sync.failed_claims import Outcome, settle_failure
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.outage_waits import release_after_outage
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline_tests.inbox import change, claim_one, connect_riders, row, store
from strava_pipeline_tests.strava_stand_in import RIDER

MINUTE = timedelta(minutes=1)


@pytest.fixture
def moment(engine: Engine) -> datetime:
    """The database's time; an athlete is connected."""
    connect_riders(engine, RIDER)
    with engine.connect() as connection:
        return now(connection)


@pytest.mark.parametrize(
    ("age", "retry_in", "wait"),
    [
        (timedelta(0), MINUTE / 2, MINUTE),
        (9 * MINUTE, MINUTE / 2, 9 * MINUTE),
        (timedelta(hours=20), MINUTE / 2, 60 * MINUTE),
        (timedelta(0), 15 * MINUTE, 15 * MINUTE),
    ],
)
def test_the_longer_an_athletes_refreshes_fail_the_longer_are_the_waits(
    engine: Engine, moment: datetime, age: timedelta, retry_in: timedelta, wait: timedelta
) -> None:
    store(engine, 1)
    change(engine, received_at=moment - age)
    error = RefreshDelayed("the refresh failed just now", retry_at=moment + retry_in)
    assert settle_failure(engine, claim_one(engine), error, may_retry=True).outcome is Outcome.WAITING
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts) == ("waiting", "strava", 0)
    assert timedelta(0) <= stored.not_before - (moment + wait) < MINUTE / 2


def test_what_waits_for_one_athletes_refresh_is_no_outage_that_ends_with_anybodys_answer(
    engine: Engine, moment: datetime
) -> None:
    store(engine, 1)
    error = RefreshDelayed("the refresh failed just now", retry_at=moment + MINUTE)
    settle_failure(engine, claim_one(engine), error, may_retry=True)
    with engine.begin() as connection:
        assert release_after_outage(connection) == 0


def test_what_waits_for_oauth_goes_on_once_it_answers(engine: Engine, moment: datetime) -> None:
    away = Outage(9, moment, several=True, hosts=(gethostname(),), away_since=moment, probe_at=moment + 5 * MINUTE)
    with engine.begin() as connection:
        store_outage(connection, Service.OAUTH, away)
    store(engine, 1)
    change(engine, received_at=moment - timedelta(hours=20))
    error = StravaAway("OAuth does not answer", since=moment, retry_at=away.probe_at, refreshes_only=True)
    settle_failure(engine, claim_one(engine), error, may_retry=True)
    assert (row(engine).waiting_for, row(engine).not_before) == ("outage", away.probe_at)
    with engine.begin() as connection:
        assert release_after_outage(connection) == 0
        store_outage(connection, Service.OAUTH, ANSWERED)
        assert release_after_outage(connection) == 1
    assert row(engine).not_before < datetime.now(UTC) + MINUTE
