"""Mails in the database: announced once, claimed by one, tried again, given up, and never after unsubscribing."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, update

from strava_pipeline.warehouse.mail.mail_queue import (
    LEASE,
    WAITS,
    ClaimedMail,
    any_due,
    claim_next,
    enqueue_ride_mail,
    postpone,
    record_result,
)
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.states import MailState
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

RIDER, RIDE, FENCE = 1001, 5, 3
DAY = timedelta(days=1)


def event(engine: Engine, **changes: Any) -> None:
    values = {
        "event_key": f"{changes}",
        "source": "webhook",
        "subscription_id": 1,
        "object_type": "activity",
        "object_id": RIDE,
        "aspect_type": "create",
        "owner_id": RIDER,
        "event_time": datetime.now(UTC),
        "updates": {},
        "signed": True,
        "state": "launched",
        "fence": FENCE,
    } | changes
    with engine.begin() as connection:
        connection.execute(insert(webhook_events).values(values))


def announced(engine: Engine) -> bool:
    with engine.begin() as connection:
        return enqueue_ride_mail(connection, FENCE)


def row(engine: Engine) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(notifications)).one()


@pytest.fixture
def claimed(engine: Engine) -> ClaimedMail:
    event(engine)
    assert announced(engine)
    claim = claim_next(engine)
    assert claim is not None
    return claim


def test_a_new_activity_is_announced_once(engine: Engine) -> None:
    event(engine)
    event(engine, aspect_type="update")
    assert not any_due(engine)
    assert announced(engine)
    assert not announced(engine)
    assert (row(engine).state, row(engine).athlete_id, row(engine).activity_id) == ("pending", RIDER, RIDE)
    assert any_due(engine)


@pytest.mark.parametrize(
    "changes",
    [
        {"aspect_type": "update"},
        {"aspect_type": "delete"},
        {"object_type": "athlete"},
    ],
)
def test_what_is_not_a_new_activity_is_not_announced(engine: Engine, changes: dict[str, str]) -> None:
    event(engine, **changes)
    event(engine, fence=FENCE + 1, event_key="somebody else's claim")
    assert not announced(engine)


def test_two_at_once_announce_one_mail(engine: Engine) -> None:
    event(engine)
    told: list[bool] = []
    with engine.begin() as first:
        assert enqueue_ride_mail(first, FENCE)
        other = threading.Thread(target=lambda: told.append(announced(engine)))
        other.start()
    other.join(PATIENCE_SECONDS)
    assert told == [False]
    assert row(engine).state == "pending"


def test_a_claimed_mail_is_nobody_elses(engine: Engine, claimed: ClaimedMail) -> None:
    assert claim_next(engine) is None
    assert not any_due(engine)
    record_result(engine, claimed, MailState.SENT)
    assert (row(engine).state, row(engine).attempts, row(engine).next_try_at) == (MailState.SENT, 1, None)
    assert row(engine).finished_at is not None
    # Announced again, as by an event that is replayed: it was sent.
    assert not announced(engine)
    assert claim_next(engine) is None


def test_addresses_to_be_asked_keep_no_summary_waiting(engine: Engine) -> None:
    with engine.begin() as connection:
        for number in range(5):
            early = datetime.now(UTC) - timedelta(minutes=5)
            asking = {"kind": "confirmation", "athlete_id": number, "state": "pending", "next_try_at": early}
            connection.execute(insert(notifications).values(asking))
    event(engine)
    assert announced(engine)
    claims = [claim_next(engine) for _ in range(6)]
    assert [claim and claim.activity_id for claim in claims] == [RIDE, None, None, None, None, None]
    assert None not in claims


def test_many_claimers_share_the_mails_and_none_gets_one_twice(engine: Engine) -> None:
    for number in range(20):
        event(engine, object_id=number, fence=number)
        with engine.begin() as connection:
            assert enqueue_ride_mail(connection, number)
    taken: list[int | None] = []

    def take() -> None:
        while (claim := claim_next(engine)) is not None:
            taken.append(claim.activity_id)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert sorted(number or 0 for number in taken) == list(range(20))


def test_a_process_that_died_while_sending_lets_another_try(engine: Engine, claimed: ClaimedMail) -> None:
    with engine.begin() as connection:
        connection.execute(update(notifications).values(next_try_at=func.clock_timestamp()))
    again = claim_next(engine)
    assert again is not None
    assert again.attempt == 2
    # The first one was only slow: what it says no longer counts.
    record_result(engine, claimed, MailState.SKIPPED, "too late")
    assert row(engine).state == "pending"
    record_result(engine, again, MailState.SENT)
    assert row(engine).state == MailState.SENT


@pytest.mark.parametrize(
    ("attempt", "wait"), [(1, WAITS[0]), (2, WAITS[1]), (3, WAITS[2]), (4, WAITS[3]), (9, WAITS[3])]
)
def test_each_failed_try_waits_longer(engine: Engine, claimed: ClaimedMail, attempt: int, wait: timedelta) -> None:
    with engine.begin() as connection:
        connection.execute(update(notifications).values(attempts=attempt))
    before = datetime.now(UTC)
    tried = replace(claimed, attempt=attempt)
    postpone(engine, tried, "server away", give_up_after=DAY)
    stored = row(engine)
    assert (stored.state, stored.reason, stored.finished_at) == ("pending", "server away", None)
    assert before + wait - timedelta(seconds=5) < stored.next_try_at < before + wait + timedelta(seconds=60)


def test_a_mail_that_cannot_be_sent_for_a_day_fails(engine: Engine, claimed: ClaimedMail) -> None:
    late = claimed.claimed_at - DAY + timedelta(seconds=30)
    tried = replace(claimed, created_at=late)
    postpone(engine, tried, "server away", give_up_after=DAY)
    assert (row(engine).state, row(engine).reason) == (MailState.FAILED, "given up after 1 tries: server away")


def test_the_lease_is_longer_than_a_try(engine: Engine, claimed: ClaimedMail) -> None:
    assert row(engine).next_try_at > claimed.claimed_at + LEASE - timedelta(minutes=1)


def test_a_mail_knows_the_events_that_told_of_its_activity(engine: Engine) -> None:
    for changes in ({}, {"event_key": "again"}, {"aspect_type": "update"}, {"object_id": RIDE + 1}, {"owner_id": 7}):
        event(engine, **changes)
    assert announced(engine)
    claimed = claim_next(engine)
    assert claimed is not None
    with engine.connect() as connection:
        first, second = connection.scalars(select(webhook_events.c.id).order_by(webhook_events.c.id).limit(2))
    assert claimed.log_ids == {"event_id": (first, second), "athlete_id": RIDER, "activity_id": RIDE}
