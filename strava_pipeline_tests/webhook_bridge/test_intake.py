"""Deliveries are stored together, and each is answered for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

import pytest
from sqlalchemy import Engine, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored, StoredEvent, store_events
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.warehouse.sessions import end_sessions
from strava_pipeline_tests.webhook_bridge.deliveries import RIDER
from webhook_bridge import intake as intaking
from webhook_bridge.intake import Intake

STRANGER = 2002
# Strava gives an answer two seconds.
STRAVAS_PATIENCE_SECONDS = 2
# As it is in operation; tests change it.
LIMIT_SECONDS = intaking.STORE_SECONDS

pytestmark = pytest.mark.usefixtures("rider")


def event(number: int, owner_id: int = RIDER) -> NewEvent:
    return NewEvent(
        event_key=f"key-{number}",
        subscription_id=5,
        object_type="activity",
        object_id=number,
        aspect_type="update",
        owner_id=owner_id,
        event_time=datetime(2026, 11, 1, tzinfo=UTC),
        updates={"title": "Évening 🏃"},
        signed=True,
    )


def stored(engine: Engine) -> dict[int, str]:
    """The transaction that stored each activity's event."""
    with engine.connect() as connection:
        rows = connection.execute(select(webhook_events.c.object_id, literal_column("xmin::text")))
        return {row[0]: row[1] for row in rows}


def object_of(engine: Engine, event_id: int) -> int:
    with engine.connect() as connection:
        found: int = connection.scalars(select(webhook_events.c.object_id).where(webhook_events.c.id == event_id)).one()
        return found


@contextmanager
def table_locked(engine: Engine) -> Iterator[None]:
    """Nobody can write into the inbox meanwhile."""
    with engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE ops.webhook_events IN EXCLUSIVE MODE")
        yield


def somebody_waits_for_the_table(engine: Engine) -> bool:
    with engine.connect() as connection:
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'ops.webhook_events'::regclass)"
        return bool(connection.exec_driver_sql(waiting).scalar_one())


def test_what_arrives_during_a_commit_shares_the_next(engine: Engine) -> None:
    intake = Intake(engine)
    with ThreadPoolExecutor(20) as deliveries:
        with table_locked(engine):
            first = deliveries.submit(intake.store, event(1))
            eventually(lambda: somebody_waits_for_the_table(engine), "a transaction that waits for the table")
            others: list[Future[StoredEvent]] = [deliveries.submit(intake.store, event(n)) for n in range(2, 20)]
            eventually(lambda: intake._entries.qsize() == len(others), "a queue of the others")
        assert {each.result().outcome for each in (first, *others)} == {Stored.NEW}
    transactions = stored(engine)
    assert set(transactions) == set(range(1, 20))
    assert len(set(transactions.values())) == 2


def test_each_event_of_a_batch_has_its_own_outcome(engine: Engine) -> None:
    batch = [event(1), event(2, STRANGER), event(1), event(3), event(2, STRANGER)]
    outcomes = [Stored.NEW, Stored.UNKNOWN_OWNER, Stored.DUPLICATE, Stored.NEW, Stored.UNKNOWN_OWNER]
    with autocommit(engine) as connection:
        results = store_events(connection, batch)
    assert [each.outcome for each in results] == outcomes
    ids = [each.event_id for each in results]
    assert [None if id_ is None else object_of(engine, id_) for id_ in ids] == [1, None, 1, 3, None]
    with autocommit(engine) as connection:
        assert [each.event_id for each in store_events(connection, batch)] == ids
    assert set(stored(engine)) == {1, 3}
    with engine.connect() as connection:
        row = connection.execute(select(webhook_events).where(webhook_events.c.object_id == 1)).one()
    assert {name: getattr(row, name) for name in vars(event(1))} == vars(event(1))
    assert (row.source, row.state) == ("webhook", "received")


def test_an_event_that_cannot_be_stored_leaves_its_neighbours_alone(engine: Engine, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ops.webhook_events ADD CHECK (object_id <> 13)")
    intake = Intake(engine)
    with ThreadPoolExecutor(20) as deliveries:
        with table_locked(engine):
            first = deliveries.submit(intake.store, event(1))
            eventually(lambda: somebody_waits_for_the_table(engine), "a transaction that waits for the table")
            others = {n: deliveries.submit(intake.store, event(n)) for n in range(10, 20)}
            eventually(lambda: intake._entries.qsize() == len(others), "a queue of the others")
        with pytest.raises(DBAPIError):
            others.pop(13).result()
        assert {each.result().outcome for each in (first, *others.values())} == {Stored.NEW}
    assert set(stored(engine)) == {1, *range(10, 20)} - {13}


def test_strava_still_waits_when_an_event_is_refused() -> None:
    assert LIMIT_SECONDS < STRAVAS_PATIENCE_SECONDS


def test_events_that_were_not_stored_in_time_are_refused_and_their_redelivery_is_kept_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(engine)
    with ThreadPoolExecutor(2) as deliveries:
        with table_locked(engine), monkeypatch.context() as hurried:
            # So short that a busy machine keeps Strava's patience all the same.
            hurried.setattr(intaking, "STORE_SECONDS", 0.05)
            began = time.monotonic()
            both = [deliveries.submit(intake.store, event(n)) for n in (1, 2)]
            for each in both:
                with pytest.raises(DatabaseUnavailable):
                    each.result()
            assert time.monotonic() - began < STRAVAS_PATIENCE_SECONDS
        # Whether the first attempt reached the table after all makes no difference.
        assert {intake.store(event(n)).outcome for n in (1, 2)} <= {Stored.NEW, Stored.DUPLICATE}
    assert set(stored(engine)) == {1, 2}


def test_what_a_broken_connection_was_to_store_is_stored_by_the_next(engine: Engine) -> None:
    intake = Intake(engine)
    with ThreadPoolExecutor(2) as deliveries:
        with table_locked(engine):
            under_way = deliveries.submit(intake.store, event(1))
            eventually(lambda: somebody_waits_for_the_table(engine), "a transaction that waits for the table")
            with engine.connect() as connection:
                waiting = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
                assert connection.exec_driver_sql(waiting).scalar_one()
        assert under_way.result().outcome is Stored.NEW
    assert set(stored(engine)) == {1}


def test_a_server_that_started_anew_since_the_last_delivery_refuses_none(engine: Engine) -> None:
    intake = Intake(engine)
    assert intake.store(event(1)).outcome is Stored.NEW
    for number in (2, 3):
        end_sessions(engine)
        assert intake.store(event(number)).outcome is Stored.NEW
    assert set(stored(engine)) == {1, 2, 3}


def test_a_thread_that_ended_for_a_fault_nobody_thought_of_is_replaced(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory() -> NoReturn:
        raise MemoryError

    intake = Intake(engine)
    with monkeypatch.context() as patch:
        patch.setattr(intake, "_gathered", out_of_memory)
        patch.setattr(threading, "excepthook", lambda _: None)
        patch.setattr(intaking, "STORE_SECONDS", 0.05)
        with pytest.raises(DatabaseUnavailable):
            intake.store(event(1))
        thread = intake._thread
        assert thread is not None
        eventually(lambda: not thread.is_alive(), "the end of the thread")
    assert intake.store(event(2)).outcome is Stored.NEW
    assert 2 in stored(engine)


def test_no_connection_is_held_for_what_may_come(engine: Engine) -> None:
    intake = Intake(engine)
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    for number in range(5):
        assert intake.store(event(number)).outcome is Stored.NEW
        assert pool.checkedout() == 0
