"""Claims: an object in one pair of hands at a time, everything pending with it, and no word from an older claim."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import FencedOut, NeedsReauthorization
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.athletes.parking import park
from strava_pipeline.warehouse.inbox import claims, launches, waits
from strava_pipeline.warehouse.inbox.claims import claim_objects, refresh_claim
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import ErrorClass, EventSource, WaitingFor
from strava_pipeline_tests.inbox import LONG_AGO, change, claim_one, connect_riders, row, rows, states, store
from strava_pipeline_tests.strava_stand_in import RIDER

OTHER = 1002


@pytest.fixture(autouse=True)
def riders(engine: Engine) -> None:
    connect_riders(engine, RIDER, OTHER)


def objects(engine: Engine, limit: int = 10) -> list[int]:
    return [claim.object_id for claim in claim_objects(engine, limit)]


def finish(engine: Engine, fence: int) -> None:
    with engine.begin() as connection:
        claims.mark_done(connection, fence)


def test_a_claim_takes_the_oldest_first_and_as_many_as_asked_for(engine: Engine) -> None:
    store(engine, *range(1, 6))
    assert objects(engine, 3) == [1, 2, 3]
    assert states(engine) == ["launched"] * 3 + ["received"] * 2
    assert objects(engine) == [4, 5]
    assert objects(engine) == []


def test_news_go_before_what_is_tried_again(engine: Engine) -> None:
    store(engine, 1, 2, 3)
    ids = [found.id for found in rows(engine)]
    change(engine, ids, state="waiting", waiting_for="replay", not_before=LONG_AGO)
    store(engine, 2, 9)
    assert objects(engine, 2) == [2, 9]
    assert objects(engine) == [1, 3]


def test_what_upkeep_found_goes_after_stravas_own_and_before_what_is_tried_again(engine: Engine) -> None:
    store(engine, 1, 2)
    change(engine, state="waiting", waiting_for="replay", not_before=LONG_AGO)
    store(engine, 3, 4, 5, source=EventSource.RECONCILE, signed=False)
    store(engine, 2, 4, 9)
    assert [[(claim.object_id, claim.lane) for claim in claim_objects(engine, most)] for most in (3, 2, 1)] == [
        [(2, Lane.LIVE), (4, Lane.LIVE), (9, Lane.LIVE)],
        [(3, Lane.RECONCILE), (5, Lane.RECONCILE)],
        [(1, Lane.LIVE)],
    ]


def test_what_upkeep_found_waits_while_many_objects_are_under_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MANY_UNDER_WAY", 1)
    store(engine, 1, 2, source=EventSource.RECONCILE, signed=False)
    (first,) = claim_objects(engine, 1)
    assert objects(engine) == []
    store(engine, 2, 3)
    assert objects(engine) == [2, 3]
    finish(engine, first.fence)
    assert objects(engine) == []


def test_a_claim_is_live_as_soon_as_strava_has_told_of_its_object(engine: Engine) -> None:
    store(engine, 1, source=EventSource.RECONCILE, signed=False)
    claim = claim_one(engine)
    assert claim.lane is Lane.RECONCILE
    store(engine, 1)
    taken = refresh_claim(engine, claim.fence)
    assert taken is not None
    assert taken.lane is Lane.LIVE


def test_what_is_tried_again_waits_while_many_objects_are_under_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MANY_UNDER_WAY", 3)
    store(engine, *range(1, 8))
    change(engine, state="waiting", waiting_for="replay", not_before=LONG_AGO)
    first, _ = claim_objects(engine, 2)
    assert objects(engine, 2) == [3, 4]
    assert objects(engine, 2) == []
    # News do not wait, nor what news have come of.
    store(engine, 6, 9)
    assert objects(engine, 2) == [6, 9]
    finish(engine, first.fence)
    assert objects(engine, 2) == []
    # Whoever had them died: these are not tried again by choice.
    change(engine, [found.id for found in rows(engine) if found.state == "launched"], lease_until=LONG_AGO)
    assert objects(engine, 5) == [2, 3, 4, 6, 9]


def test_everything_pending_for_an_object_is_claimed_together(engine: Engine) -> None:
    store(engine, 1, 2, 1, 1)
    store(engine, 1, aspect_type="delete")
    change(engine, [rows(engine)[2].id], state="waiting", not_before=datetime.now(UTC) + timedelta(hours=1))
    first, second = claim_objects(engine, 10)
    assert (first.object_id, first.aspect_types, len(first.events)) == (1, {"create", "delete"}, 4)
    assert (second.object_id, len(second.events)) == (2, 1)
    assert first.fence != second.fence


def test_one_activity_named_by_two_athletes_is_two_objects(engine: Engine) -> None:
    store(engine, 1)
    store(engine, 1, owner_id=OTHER)
    assert [(claim.athlete_id, len(claim.events)) for claim in claim_objects(engine, 10)] == [(RIDER, 1), (OTHER, 1)]


def test_what_arrives_while_an_object_is_worked_on_waits_for_the_next_claim(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    store(engine, 1)
    assert objects(engine) == []
    finish(engine, claim.fence)
    assert states(engine) == ["done", "received"]
    assert objects(engine) == [1]


def test_what_arrived_before_the_work_begins_is_taken_along(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    store(engine, 1, 1, 2)
    taken = refresh_claim(engine, claim.fence)
    assert taken is not None
    assert len(taken.events) == 3
    finish(engine, claim.fence)
    assert states(engine) == ["done", "done", "done", "received"]


def test_several_connections_at_once_never_claim_an_object_twice(engine: Engine) -> None:
    store(engine, *(number % 10 for number in range(40)))
    found: list[int] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        while mine := objects(engine, 2):
            found.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(10))


def test_a_claim_does_not_wait_for_an_event_that_is_locked(engine: Engine) -> None:
    store(engine, 1, 2)
    with engine.connect() as other, other.begin():
        other.execute(select(webhook_events.c.id).order_by(webhook_events.c.id).limit(1).with_for_update())
        assert objects(engine) == [2]


def test_a_claim_holds_until_its_lease_runs_out(engine: Engine) -> None:
    store(engine, 1)
    first = claim_one(engine)
    assert objects(engine) == []
    change(engine, lease_until=LONG_AGO)
    second = claim_one(engine)
    assert second.fence > first.fence
    assert [event.event_id for event in second.events] == [event.event_id for event in first.events]


def test_a_run_that_begins_and_works_extends_its_leases(engine: Engine) -> None:
    store(engine, 1, 2)
    fences = [claim.fence for claim in claim_objects(engine, 10)]
    for keep in (
        lambda: claims.begin_run(engine, fences, "run-1"),
        lambda: claims.extend_leases(engine, "run-1"),
        lambda: [refresh_claim(engine, fence) for fence in fences],
    ):
        change(engine, lease_until=LONG_AGO)
        keep()
        assert objects(engine) == []
    assert [stored.run_id for stored in rows(engine)] == ["run-1"] * 2


def test_an_older_claim_can_change_nothing_any_more(engine: Engine) -> None:
    store(engine, 1)
    old = claim_one(engine)
    change(engine, lease_until=LONG_AGO)
    new = claim_one(engine)
    assert refresh_claim(engine, old.fence) is None
    assert claims.begin_run(engine, [old.fence], "old-run") == []
    for write in (claims.check_fence, claims.mark_done):
        with pytest.raises(FencedOut, match="overtaken"), engine.begin() as connection:
            write(connection, old.fence)
    with engine.begin() as connection:
        claims.mark_dead(connection, old.fence, "too late", kind="NotFound", error_class=ErrorClass.PERMANENT)
        waits.postpone(connection, old.fence, LONG_AGO, WaitingFor.QUOTA, "too late")
        assert park(connection, old, NeedsReauthorization("too late"))
        waits.wait_to_appear(connection, old, WaitingFor.STREAMS, "too late")
    launches.release_claims(engine, [old.fence], wait=timedelta(0), reason="too late")
    launches.record_run(engine, [old.fence], "old-run")
    stored = row(engine)
    assert (stored.state, stored.fence, stored.error, stored.run_id) == ("launched", new.fence, None, None)
    finish(engine, new.fence)
    assert row(engine).state == "done"


def test_a_proof_keeps_the_claim_until_the_data_are_written(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    with engine.begin() as connection:
        claims.check_fence(connection, claim.fence)
        # Its lease ends while it writes; nobody takes the object from its hands.
        assert objects(engine) == []
        claims.mark_done(connection, claim.fence)
    change(engine, lease_until=LONG_AGO)
    assert objects(engine) == []


def test_a_finished_claim_is_not_taken_up_again(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    launches.record_run(engine, [claim.fence], "run-1")
    finish(engine, claim.fence)
    assert refresh_claim(engine, claim.fence) is None
    stored = row(engine)
    assert (stored.state, stored.run_id, stored.lease_until) == ("done", "run-1", None)
    assert stored.finished_at >= stored.received_at


def test_giving_back_costs_nothing_and_waits(engine: Engine) -> None:
    store(engine, 1, 2)
    fences = [claim.fence for claim in claim_objects(engine, 10)]
    launches.release_claims(engine, fences, wait=timedelta(hours=1), reason="Dagster is away")
    for stored in rows(engine):
        assert (stored.state, stored.waiting_for, stored.attempts, stored.error) == (
            "waiting",
            "dagster",
            0,
            "Dagster is away",
        )
    assert objects(engine) == []
    change(engine, not_before=LONG_AGO)
    assert objects(engine) == [1, 2]


def test_an_event_is_looked_at_once_a_day_however_long_it_is_to_wait(engine: Engine) -> None:
    store(engine, 1)
    with engine.begin() as connection:
        moment = datetime.now(UTC)
        waits.postpone(connection, claim_one(engine).fence, moment + 9 * claims.LONGEST_WAIT, WaitingFor.QUOTA, "none")
    assert row(engine).not_before - moment < claims.LONGEST_WAIT + timedelta(minutes=1)
    assert claims.claim_objects(engine, 10) == []


def test_a_postponed_event_waits_for_its_time(engine: Engine) -> None:
    store(engine, 1)
    later = datetime.now(UTC) + timedelta(hours=1)
    with engine.begin() as connection:
        waits.postpone(connection, claim_one(engine).fence, later, WaitingFor.QUOTA, "used up")
    stored = row(engine)
    assert (stored.state, stored.not_before, stored.waiting_for, stored.attempts) == ("waiting", later, "quota", 0)
    change(engine, not_before=LONG_AGO)
    finish(engine, claim_one(engine).fence)
    assert (row(engine).error, row(engine).waiting_for) == (None, None)


def test_what_is_not_there_yet_is_waited_for_5_15_and_45_minutes(engine: Engine) -> None:
    store(engine, 1)
    waited = []
    for _ in range(4):
        claim = claim_one(engine)
        with engine.begin() as connection:
            if not waits.wait_to_appear(connection, claim, WaitingFor.STREAMS, "none yet"):
                break
        stored = row(engine)
        assert (stored.state, stored.waiting_for) == ("waiting", "streams")
        waited.append(round((stored.not_before - datetime.now(UTC)).total_seconds() / 60))
        change(engine, not_before=LONG_AGO)
    assert waited == [5, 15, 45]
    assert row(engine).state == "launched"


def test_a_wait_that_newer_news_cut_short_does_not_count(engine: Engine) -> None:
    store(engine, 1)
    for edit in range(6):
        claim = claim_one(engine)
        with engine.begin() as connection:
            assert waits.wait_to_appear(connection, claim, WaitingFor.STREAMS, "none yet")
        assert rows(engine)[0].waits == 1
        store(engine, 1, aspect_type="update", updates={"title": f"Title {edit}"})
    # The same where the news are met by a run that has claimed others of its kind.
    claim = claim_one(engine)
    assert refresh_claim(engine, claim.fence) is not None
    with engine.begin() as connection:
        assert waits.wait_to_appear(connection, claim, WaitingFor.STREAMS, "none yet")
    assert rows(engine)[0].waits == 1


def test_runs_that_end_without_a_word_are_counted(engine: Engine) -> None:
    store(engine, 1)
    for lost in range(3):
        claim = claim_one(engine)
        assert claim.lost_runs == lost
        claims.begin_run(engine, [claim.fence], "run")
        change(engine, lease_until=LONG_AGO)
    # One that never began was not lost while it worked.
    assert claim_one(engine).lost_runs == 3
    change(engine, lease_until=LONG_AGO)
    assert claim_one(engine).lost_runs == 3


def test_launched_runs_that_have_not_begun_are_known_once_half_their_lease_is_over(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    launches.record_run(engine, [claim.fence], "run-1")
    assert launches.overdue_runs(engine) == []
    change(engine, lease_until=LONG_AGO)
    assert launches.overdue_runs(engine) == ["run-1"]
    launches.extend_launches(engine, ["run-1"])
    assert launches.overdue_runs(engine) == []
    assert objects(engine) == []
    launches.end_launches(engine, ["run-1"], wait=timedelta())
    assert objects(engine) == [1]


def test_a_run_that_has_begun_is_its_own_keeper(engine: Engine) -> None:
    store(engine, 1)
    claim = claim_one(engine)
    claims.begin_run(engine, [claim.fence], "run-1")
    change(engine, lease_until=LONG_AGO)
    assert launches.overdue_runs(engine) == []
    launches.end_launches(engine, ["run-1"], wait=timedelta())
    assert row(engine).state == "launched"
    assert objects(engine) == [1]
