"""Counts of deliveries reach the tables, also late, and when the bridge stops."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from strava_pipeline.warehouse.states import DeliveryOutcome
from strava_pipeline.warehouse.watch.deliveries import add_deliveries, recent_deliveries
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from webhook_bridge import delivery_counting
from webhook_bridge.delivery_counting import DeliveryCounting
from webhook_bridge.delivery_slots import DeliverySlots

BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def counted(engine: Engine) -> int:
    with engine.connect() as connection:
        return sum(found.deliveries for found in recent_deliveries(connection, BEGINNING))


def test_counts_are_stored_again_and_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_counting, "EVERY_SECONDS", 0.01)
    slots = DeliverySlots()
    thread = DeliveryCounting(engine, slots)
    thread.start()
    for number in (1, 2):
        slots.add(DeliveryOutcome.STORED, "", 0.01)
        eventually(lambda: counted(engine) == number, f"{number} in the table")  # noqa: B023  called at once
    thread.stop()


def test_a_bridge_that_stops_stores_what_it_has(engine: Engine) -> None:
    slots = DeliverySlots()
    thread = DeliveryCounting(engine, slots)
    thread.start()
    slots.add(DeliveryOutcome.STORED, "", 0.01)
    thread.stop()
    assert counted(engine) == 1


def test_counts_wait_for_a_database_that_is_away(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    slots = DeliverySlots()
    slots.add(DeliveryOutcome.STORED, "", 0.01)
    with engine_away() as away:
        thread = DeliveryCounting(away, slots)
        thread.store()
        assert thread.errors == 1
    assert "counts of deliveries are stored later: the database at" in caplog.text
    slots.add(DeliveryOutcome.STORED, "", 0.01)
    # What was stored though nobody heard of it is stored again.
    for _ in range(2):
        add_deliveries(engine, slots.unstored())
    DeliveryCounting(engine, slots).store()
    assert counted(engine) == 2
    assert slots.unstored() == []
