"""Deliveries are counted by slot, and each count is handed over until it is known to be stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread

from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from webhook_bridge.delivery_slots import SLOT_SECONDS, DeliverySlots

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORED, REJECTED = DeliveryOutcome.STORED, DeliveryOutcome.REJECTED


class Clock:
    def __init__(self) -> None:
        self.moment = NOON

    def __call__(self) -> float:
        return self.moment.timestamp()


def test_deliveries_are_counted_by_slot_outcome_and_reason() -> None:
    clock = Clock()
    slots = DeliverySlots(clock)
    slots.add(STORED, "", 0.0204)
    clock.moment += timedelta(seconds=SLOT_SECONDS - 1)
    slots.add(STORED, "", 0.004)
    slots.add(REJECTED, RejectReason.SUBSCRIPTION, 0.001, 66)
    slots.add(REJECTED, RejectReason.SUBSCRIPTION, 0.001, 77)
    clock.moment += timedelta(seconds=1)
    slots.add(STORED, "", 0.1)
    told = slots.unstored()
    assert [(count.slot - NOON, count.reason, count.deliveries, count.slowest_ms) for count in told] == [
        (timedelta(), "", 2, 20),
        (timedelta(), "subscription", 2, 1),
        (timedelta(minutes=5), "", 1, 100),
    ]
    assert [count.subscription_id for count in told] == [None, 77, None]
    assert len({count.bridge for count in told}) == 1
    assert DeliverySlots(clock)._bridge != slots._bridge


def test_a_count_is_told_until_it_is_stored_and_again_once_it_changes() -> None:
    clock = Clock()
    slots = DeliverySlots(clock)
    slots.add(STORED, "", 0.01)
    (first,) = slots.unstored()
    assert slots.unstored() == [first]
    slots.note_stored([first])
    assert slots.unstored() == []
    slots.add(STORED, "", 0.01)
    assert slots.unstored() == [replace(first, deliveries=2)]


def test_what_came_while_a_count_was_being_stored_is_told_again() -> None:
    slots = DeliverySlots(Clock())
    slots.add(STORED, "", 0.01)
    (first,) = slots.unstored()
    slots.add(STORED, "", 0.01)
    slots.note_stored([first])
    assert slots.unstored() == [replace(first, deliveries=2)]


def test_slots_that_are_over_and_stored_take_no_memory() -> None:
    clock = Clock()
    slots = DeliverySlots(clock)
    for _ in range(3):
        slots.add(STORED, "", 0.01)
        slots.note_stored(slots.unstored())
        clock.moment += timedelta(seconds=SLOT_SECONDS)
    assert slots.unstored() == []
    assert not slots._counts


def test_no_delivery_of_many_threads_is_missed() -> None:
    slots = DeliverySlots(Clock())

    def count() -> None:
        for _ in range(1000):
            slots.add(STORED, "", 0.01)

    threads = [Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [count.deliveries for count in slots.unstored()] == [8000]
