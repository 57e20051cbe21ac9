"""The inbox: stored once, claimed by one, finished by the newest claim only."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Row, insert, select, text, update

from strava_pipeline.errors import DatabaseAway
from strava_pipeline.warehouse import webhook_events as inbox
from strava_pipeline.warehouse.ops_tables import users, webhook_events
from strava_pipeline.warehouse.webhook_events import Claim, NewEvent, Stored, claim_events, store_event

RIDER = 1001
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))


def event(number: int = 1, **more: Any) -> NewEvent:
    given: dict[str, Any] = {
        "event_key": f"key-{number}",
        "subscription_id": 5,
        "object_type": "activity",
        "object_id": 2**62 + number,
        "aspect_type": "update",
        "owner_id": RIDER,
        "event_time": datetime(2025, 6, 1, tzinfo=UTC),
        "updates": {"title": "Ünïcode 🚴 \u2028"},
        "signed": True,
    }
    return NewEvent(**(given | more))


def store(engine: Engine, numbers: Iterable[int]) -> None:
    for number in numbers:
        assert store_event(engine, event(number)) is Stored.NEW


def row(engine: Engine, number: int = 1) -> Row[Any]:
    with engine.connect() as connection:
        return connection.execute(select(webhook_events).where(webhook_events.c.event_key == f"key-{number}")).one()


def change(engine: Engine, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(webhook_events).values(**values))


def take_up(engine: Engine, claim: Claim) -> inbox.ClaimedEvent | None:
    with engine.begin() as connection:
        return inbox.take_up(connection, claim)


def claim_one(engine: Engine) -> Claim:
    (claimed,) = claim_events(engine, 10)
    return claimed.claim


def test_an_event_is_kept_as_it_was_delivered(engine: Engine) -> None:
    assert store_event(engine, event()) is Stored.NEW
    stored = row(engine)
    assert (stored.state, stored.source, stored.attempts, stored.fence) == ("received", "webhook", 0, 0)
    assert (stored.object_id, stored.updates) == (2**62 + 1, {"title": "Ünïcode 🚴 \u2028"})
    assert stored.signed


def test_a_redelivery_is_a_duplicate_even_when_it_is_done(engine: Engine) -> None:
    store(engine, [1])
    inbox.finish(engine, claim_one(engine))
    assert store_event(engine, event(aspect_type="create")) is Stored.DUPLICATE
    assert row(engine).state == "done"
    assert row(engine).aspect_type == "update"


def test_events_of_strangers_are_not_kept(engine: Engine) -> None:
    assert store_event(engine, event(owner_id=999)) is Stored.UNKNOWN_OWNER
    with engine.connect() as connection:
        assert connection.execute(select(webhook_events)).all() == []


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


def test_storing_that_takes_too_long_is_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "STORE_MILLISECONDS", 50)
    with engine.connect() as holder, holder.begin():
        holder.execute(text("LOCK TABLE ops.webhook_events IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseAway):
            store_event(engine, event())
    assert store_event(engine, event()) is Stored.NEW


def test_a_claim_takes_the_oldest_first_and_as_many_as_asked_for(engine: Engine) -> None:
    store(engine, range(1, 6))
    claimed = claim_events(engine, 3)
    assert [found.object_id - 2**62 for found in claimed] == [1, 2, 3]
    assert [found.claim.fence for found in claimed] == [1, 1, 1]
    assert {row(engine, number).state for number in (1, 2, 3)} == {"launched"}
    assert [found.object_id - 2**62 for found in claim_events(engine, 10)] == [4, 5]
    assert claim_events(engine, 10) == []


def test_two_connections_at_once_never_claim_the_same_event(engine: Engine) -> None:
    store(engine, range(1, 41))
    claims: list[list[int]] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        mine: list[int] = []
        while found := claim_events(engine, 3):
            mine.extend(event.claim.event_id for event in found)
        claims.append(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [event_id for mine in claims for event_id in mine]
    assert len(everything) == len(set(everything)) == 40


def test_a_claim_does_not_wait_for_an_event_in_another_claimers_hands(engine: Engine) -> None:
    store(engine, [1, 2])
    with engine.connect() as other, other.begin():
        first = select(webhook_events.c.id).order_by(webhook_events.c.id).limit(1)
        other.execute(first.with_for_update())
        (claimed,) = claim_events(engine, 10)
    assert claimed.object_id == 2**62 + 2


def test_a_claim_holds_until_its_lease_runs_out(engine: Engine) -> None:
    store(engine, [1])
    first = claim_one(engine)
    assert claim_events(engine, 10) == []
    change(engine, lease_until=LONG_AGO)
    second = claim_one(engine)
    assert second == Claim(first.event_id, first.fence + 1)


def test_taking_up_extends_the_lease(engine: Engine) -> None:
    store(engine, [1])
    claim = claim_one(engine)
    change(engine, lease_until=LONG_AGO)
    taken = take_up(engine, claim)
    assert taken is not None
    assert (taken.owner_id, taken.object_id, taken.aspect_type) == (RIDER, 2**62 + 1, "update")
    assert claim_events(engine, 10) == []


def test_an_older_claim_can_change_nothing_any_more(engine: Engine) -> None:
    store(engine, [1])
    old = claim_one(engine)
    change(engine, lease_until=LONG_AGO)
    new = claim_one(engine)
    assert take_up(engine, old) is None
    inbox.finish(engine, old)
    inbox.bury(engine, old, "too late", transient=False)
    inbox.postpone(engine, old, LONG_AGO, "too late")
    inbox.give_back(engine, [old], wait=timedelta(0), reason="too late")
    inbox.note_run(engine, [old], "old-run")
    stored = row(engine)
    assert (stored.state, stored.fence, stored.error, stored.run_id) == ("launched", 2, None, None)
    inbox.finish(engine, new)
    assert row(engine).state == "done"


def test_a_finished_event_is_not_taken_up_again_by_its_own_claim(engine: Engine) -> None:
    store(engine, [1])
    claim = claim_one(engine)
    inbox.note_run(engine, [claim], "run-1")
    inbox.finish(engine, claim)
    assert take_up(engine, claim) is None
    stored = row(engine)
    assert (stored.state, stored.run_id, stored.lease_until) == ("done", "run-1", None)
    assert stored.finished_at >= stored.received_at


def test_giving_back_costs_no_attempt_and_waits(engine: Engine) -> None:
    store(engine, [1, 2])
    claims = [found.claim for found in claim_events(engine, 10)]
    inbox.give_back(engine, claims, wait=timedelta(hours=1), reason="Dagster is away")
    stored = row(engine)
    assert (stored.state, stored.attempts, stored.error, stored.lease_until) == ("waiting", 0, "Dagster is away", None)
    assert claim_events(engine, 10) == []
    change(engine, not_before=LONG_AGO)
    assert [found.claim.fence for found in claim_events(engine, 10)] == [2, 2]
    assert row(engine).not_before is None


def test_a_postponed_event_waits_for_its_time(engine: Engine) -> None:
    store(engine, [1])
    later = datetime.now(UTC) + timedelta(hours=1)
    inbox.postpone(engine, claim_one(engine), later, "quota")
    stored = row(engine)
    assert (stored.state, stored.not_before, stored.attempts) == ("waiting", later, 0)
    assert claim_events(engine, 10) == []
    change(engine, not_before=LONG_AGO)
    inbox.finish(engine, claim_one(engine))
    assert row(engine).error is None


@pytest.mark.parametrize(("transient", "error_class"), [(True, "transient"), (False, "permanent")])
def test_a_buried_event_stays_visible_and_is_not_claimed(engine: Engine, transient: bool, error_class: str) -> None:
    store(engine, [1])
    inbox.bury(engine, claim_one(engine), "404", transient=transient)
    stored = row(engine)
    assert (stored.state, stored.attempts, stored.error, stored.error_class) == ("dead", 1, "404", error_class)
    assert claim_events(engine, 10) == []


def test_a_change_to_no_claims_changes_nothing(engine: Engine) -> None:
    store(engine, [1])
    claim_one(engine)
    inbox.give_back(engine, [], wait=timedelta(0), reason="nothing")
    assert row(engine).state == "launched"
