"""The inbox: every event stored once, freed when its athlete connects again, forgotten only after it took effect."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.event import listen, remove

from strava_pipeline.errors import MissingScope, NeedsReauthorization
from strava_pipeline.warehouse import record_lives
from strava_pipeline.warehouse.activities.quality import silences
from strava_pipeline.warehouse.athletes.athlete_status import athlete_statuses
from strava_pipeline.warehouse.athletes.parking import park
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.claims import claim_objects, mark_done
from strava_pipeline.warehouse.inbox.events import (
    NewEvent,
    Stored,
    add_events,
    release_parked,
)
from strava_pipeline.warehouse.inbox.overview import inbox_by_state, inbox_overview, longest_due
from strava_pipeline.warehouse.record_lives import remove_done_events
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import EventSource
from strava_pipeline_tests.inbox import (
    an_event,
    change,
    claim_one,
    connect_riders,
    row,
    rows,
    states,
    store,
    store_event,
)
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def event(**more: Any) -> NewEvent:
    given: dict[str, Any] = {"event_key": "key", "object_id": 2**62 + 1, "updates": {"title": "Ünïcode 🚴 \u2028"}}
    return an_event(**(given | more))


def done(engine: Engine) -> None:
    claim = claim_one(engine)
    with engine.begin() as connection:
        mark_done(connection, claim.fence)


def test_an_event_is_kept_as_it_was_delivered(engine: Engine) -> None:
    assert store_event(engine, event()) is Stored.NEW
    stored = row(engine)
    assert (stored.state, stored.source, stored.attempts, stored.fence) == ("received", "webhook", 0, 0)
    assert (stored.object_id, stored.updates) == (2**62 + 1, {"title": "Ünïcode 🚴 \u2028"})
    assert stored.signed


def test_a_redelivery_is_a_duplicate_even_when_it_is_done(engine: Engine) -> None:
    assert store_event(engine, event()) is Stored.NEW
    done(engine)
    assert store_event(engine, event(aspect_type="update")) is Stored.DUPLICATE
    assert (row(engine).state, row(engine).aspect_type) == ("done", "create")


def test_events_of_strangers_are_not_kept(engine: Engine) -> None:
    assert store_event(engine, event(owner_id=999)) is Stored.UNKNOWN_OWNER
    assert rows(engine) == []


def test_one_delivery_at_once_from_many_connections_is_stored_once(engine: Engine) -> None:
    answers: list[Stored] = []
    gate = threading.Barrier(6)

    def deliver() -> None:
        gate.wait()
        answers.append(store_event(engine, event()))

    threads = [threading.Thread(target=deliver) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [Stored.DUPLICATE] * 5 + [Stored.NEW]


def test_what_was_found_by_comparing_enters_once(engine: Engine) -> None:
    found = [event(event_key=f"found-{number}", source=EventSource.RECONCILE, signed=False) for number in (1, 2)]
    with engine.begin() as connection:
        assert add_events(connection, found) == 2
    assert [(stored.source, stored.signed, stored.state) for stored in rows(engine)] == [
        ("reconcile", False, "received")
    ] * 2
    with engine.begin() as connection:
        assert add_events(connection, found) == 0
        assert add_events(connection, []) == 0
    assert len(rows(engine)) == 2


def test_what_is_added_is_gone_with_its_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        assert add_events(connection, [event()]) == 1
        connection.rollback()
    assert rows(engine) == []


def test_parked_events_go_on_when_their_athlete_connects_again(engine: Engine) -> None:
    connect_riders(engine, 1002)
    store(engine, 1)
    store(engine, 2, owner_id=1002)
    for claim in claim_objects(engine, 10):
        with engine.begin() as connection:
            assert park(connection, claim, MissingScope("connect again"))
    assert claim_objects(engine, 10) == []
    with engine.begin() as connection:
        assert release_parked(connection, RIDER) == 1
    assert states(engine) == ["received", "parked"]
    assert [claim.object_id for claim in claim_objects(engine, 10)] == [1]


def test_events_of_whoever_is_back_by_now_are_not_parked(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    with engine.begin() as connection:
        assert not park(connection, claim, NeedsReauthorization("connect again"))
    assert states(engine) == ["launched"]


def test_an_event_stored_in_the_moment_of_a_departure_is_dropped(engine: Engine) -> None:
    store(engine, 1, aspect_type="update", updates={"title": "Round the lake"})
    store(engine, 2, owner_id=RIDER)
    change_users(engine, state="revoked")
    claim = claim_objects(engine, 10)[0]
    with engine.begin() as connection:
        assert park(connection, claim, NeedsReauthorization("revoked"))
    assert states(engine) == ["done", "done"]
    assert rows(engine)[0].updates == {}


def test_parking_waits_for_whoever_connects_just_now(engine: Engine) -> None:
    change_users(engine, state="needs_reauth")
    store(engine, 1)
    claim, parked = claim_one(engine), []

    def late() -> None:
        with engine.begin() as connection:
            parked.append(park(connection, claim, NeedsReauthorization("connect again")))

    thread = threading.Thread(target=late)
    with engine.begin() as connection:
        connection.execute(update(users).values(state="active"))
        assert release_parked(connection, RIDER) == 0
        thread.start()
        wait_for_a_lock(engine, 1)
    thread.join()
    assert parked == [False]
    assert states(engine) == ["launched"]


def change_users(engine: Engine, **values: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(**values))


def test_only_what_took_effect_is_forgotten_and_only_after_its_time(engine: Engine) -> None:
    store(engine, *range(1, 8))
    kept = ("received", "waiting", "launched", "dead", "parked", "discarded", "done")
    for stored, state in zip(rows(engine), kept, strict=True):
        change(engine, [stored.id], state=state, finished_at=datetime(2025, 6, 1, tzinfo=UTC))
    assert remove_done_events(engine, timedelta(days=36500)) == {}
    assert remove_done_events(engine, timedelta(days=1)) == {"ops.webhook_events": 1}
    with engine.begin() as connection:
        assert inbox_by_state(connection) == dict.fromkeys(kept[:-1], 1)


def test_a_process_that_dies_keeps_the_batches_that_it_has_forgotten(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, *range(1, 6))
    change(engine, state="done", finished_at=datetime(2025, 6, 1, tzinfo=UTC))
    monkeypatch.setattr(record_lives, "BATCH", 2)
    deletions: list[str] = []

    def dies(*given: Any) -> None:
        if "DELETE FROM ops.webhook_events" in given[2]:
            deletions.append(given[2])
            if len(deletions) == 2:
                raise KeyboardInterrupt

    listen(engine, "before_cursor_execute", dies)
    with pytest.raises(KeyboardInterrupt):
        remove_done_events(engine, timedelta(days=1))
    remove(engine, "before_cursor_execute", dies)
    assert len(rows(engine)) == 3
    assert remove_done_events(engine, timedelta(days=1)) == {"ops.webhook_events": 3}


def test_of_the_events_that_took_effect_the_last_days_are_counted(engine: Engine) -> None:
    store(engine, 1, 2, 3)
    change(engine, state="done", finished_at=database_time())
    change(engine, [rows(engine)[0].id], finished_at=datetime(2025, 6, 1, tzinfo=UTC))
    with engine.begin() as connection:
        found = inbox_overview(connection, now(connection))
    assert (found.by_state, found.open_count, found.lag) == ({"done": 2}, 0, None)
    assert found.last_event_at == rows(engine)[2].received_at
    change(engine, [rows(engine)[1].id], state="waiting", finished_at=None)
    with engine.begin() as connection:
        moment = now(connection)
        found = inbox_overview(connection, moment)
    assert (found.by_state, found.open_count) == ({"done": 1, "waiting": 1}, 1)
    assert found.lag == moment - rows(engine)[1].received_at


def test_what_upkeep_found_is_no_sign_of_strava(engine: Engine) -> None:
    store(engine, 1, 2)
    change(engine, [rows(engine)[0].id], received_at=datetime(2025, 6, 1, tzinfo=UTC))
    change(engine, [rows(engine)[1].id], source="reconcile")
    with engine.begin() as connection:
        assert [silence.last_event_at for silence in silences(connection)] == [datetime(2025, 6, 1, tzinfo=UTC)]
        assert athlete_statuses(connection)[0].last_event_at == datetime(2025, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "minutes"),
    [
        ({}, 60),
        ({"state": "waiting", "not_before": -10}, 10),
        ({"state": "waiting", "not_before": 10}, 0),
        # Dagster has refused it again and again, each time until a little later.
        ({"state": "waiting", "waiting_for": "dagster", "not_before": 1}, 60),
        ({"state": "waiting", "waiting_for": "replay", "not_before": -10}, 0),
        ({"source": "reconcile"}, 0),
        ({"state": "parked"}, 0),
        ({"state": "dead", "error_class": "permanent"}, 0),
    ],
)
def test_deliveries_that_are_due_are_waited_for(engine: Engine, changed: dict[str, Any], minutes: int) -> None:
    """``not_before``: in so many minutes."""
    store(engine, 1)
    moment = datetime.now(UTC)
    values: dict[str, Any] = {"received_at": moment - timedelta(hours=1)} | changed
    if "not_before" in changed:
        values["not_before"] = moment + timedelta(minutes=changed["not_before"])
    change(engine, **values)
    with engine.connect() as connection:
        assert round(longest_due(connection) / timedelta(minutes=1)) == minutes


def test_an_empty_inbox_is_not_waited_for(engine: Engine) -> None:
    with engine.connect() as connection:
        assert longest_due(connection) == timedelta()
