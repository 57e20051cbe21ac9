"""Counts of deliveries are stored once however often they are handed over, and read by hour and by reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from strava_pipeline.warehouse.watch.deliveries import (
    CountedDeliveries,
    DeliveriesOfHour,
    RecentDeliveries,
    add_deliveries,
    deliveries_by_hour,
    recent_deliveries,
)

HOUR = timedelta(hours=1)
SLOT = timedelta(minutes=5)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def counted(
    slot: datetime,
    deliveries: int,
    outcome: DeliveryOutcome = DeliveryOutcome.STORED,
    reason: str = "",
    *,
    bridge: str = "one",
    subscription_id: int | None = None,
) -> CountedDeliveries:
    return CountedDeliveries(slot, outcome, reason, bridge, deliveries, deliveries * 10, subscription_id)


def foreign(slot: datetime, deliveries: int, subscription_id: int) -> CountedDeliveries:
    outcome, reason = DeliveryOutcome.REJECTED, RejectReason.SUBSCRIPTION
    return counted(slot, deliveries, outcome, reason, subscription_id=subscription_id)


def recent(engine: Engine, since: datetime) -> list[RecentDeliveries]:
    with engine.connect() as connection:
        return recent_deliveries(connection, since)


def test_counts_are_totals_of_their_slot_which_can_be_stored_again(engine: Engine) -> None:
    first = counted(NOON, 3)
    for counts in ([first], [first], [replace(first, deliveries=5, slowest_ms=20)], [first], []):
        add_deliveries(engine, counts)
    assert recent(engine, NOON) == [RecentDeliveries(DeliveryOutcome.STORED, "", 5, 30, None)]


def test_counts_of_all_bridges_add_up(engine: Engine) -> None:
    add_deliveries(engine, [counted(NOON, 3), counted(NOON, 4, bridge="two"), counted(NOON + SLOT, 5)])
    assert recent(engine, NOON) == [RecentDeliveries(DeliveryOutcome.STORED, "", 12, 50, None)]


def test_only_slots_that_began_since_then_count(engine: Engine) -> None:
    add_deliveries(engine, [counted(NOON, 3), counted(NOON + SLOT, 4)])
    assert [found.deliveries for found in recent(engine, NOON + timedelta(seconds=1))] == [4]
    assert recent(engine, NOON + 2 * SLOT) == []


def test_the_last_subscription_of_others_is_told(engine: Engine) -> None:
    add_deliveries(engine, [foreign(NOON, 1, 66), foreign(NOON + SLOT, 2, 77)])
    expected = RecentDeliveries(DeliveryOutcome.REJECTED, RejectReason.SUBSCRIPTION, 3, 20, 77)
    assert recent(engine, NOON) == [expected]
    add_deliveries(engine, [replace(foreign(NOON + SLOT, 3, 88)), counted(NOON + 2 * SLOT, 1)])
    assert [found.subscription_id for found in recent(engine, NOON)] == [88, None]


def test_hours_are_told_from_the_first_to_the_current_one_with_zeros_for_those_without(engine: Engine) -> None:
    current = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    counts = [
        counted(current - 2 * HOUR, 1, DeliveryOutcome.DUPLICATE),
        counted(current - 2 * HOUR + SLOT, 2),
        counted(current - HOUR - SLOT, 3),
        foreign(current - 2 * HOUR, 4, 66),
        counted(current - 3 * HOUR - SLOT, 9),
    ]
    add_deliveries(engine, counts)
    with engine.connect() as connection:
        told = deliveries_by_hour(connection, 4)
        assert len(deliveries_by_hour(connection)) == 24
    hours = [DeliveriesOfHour(current - back * HOUR, 0, 0, 0, 0, 0) for back in (3, 2, 1, 0)]
    hours[1] = DeliveriesOfHour(current - 2 * HOUR, stored=5, duplicate=1, stranger=0, rejected=4, slowest_ms=40)
    # The clock may have passed a full hour meanwhile.
    assert told in (hours, [*hours[1:], DeliveriesOfHour(current + HOUR, 0, 0, 0, 0, 0)])
