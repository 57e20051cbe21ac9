"""What a webhook sets off, from the claim to the figures, or to the dead letter."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import get_reexecution_strategy
from sqlalchemy import Engine, func, select, text, update

from strava_pipeline.defs.partitions import unregister_athlete
from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
    DatabaseTooSlow,
    DatabaseUnavailable,
    NeedsReauthorization,
    NotAnswered,
    QuotaExhausted,
    RetriableStravaError,
    StravaAway,
)
from strava_pipeline.names import HISTORY_ASSETS
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.failed_claims import settle_failure
from strava_pipeline.sync.webhook import SyncResult, sync_activity
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities.stream_store import READY_WITHIN
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import Claim
from strava_pipeline.warehouse.schema import analysis_tables, tables
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.payload_tables import tombstones
from strava_pipeline.warehouse.states import EventSource
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.own_definitions import NAMES, activities, key_of
from strava_pipeline_tests.defs.webhook_runs import claim, run, work_off
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.inbox import LONG_AGO, change, claim_one, connect_riders, row, rows, states, store
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.sessions import end_sessions

AT = datetime(2025, 6, 10, tzinfo=UTC)
JUNE = f"{RIDER}|2025-06-01"


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def test_what_upkeep_found_is_asked_for_in_its_lane_until_strava_tells_of_it(
    location: CodeLocation, engine: Engine
) -> None:
    location.strava.add(1, AT)
    for sources, lane in (
        ((EventSource.RECONCILE,), Lane.RECONCILE),
        ((EventSource.RECONCILE, EventSource.WEBHOOK), Lane.LIVE),
    ):
        for source in sources:
            store(engine, 1, aspect_type="update", source=source, signed=False)
        location.lanes.clear()
        assert work_off(location, engine).success
        assert location.lanes == [lane]


def observed(location: CodeLocation, name: str) -> set[str | None]:
    found = location.instance.fetch_observations(key_of(name), limit=100)
    return {record.partition_key for record in found.records}


def names(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        return {row.id: row.name for row in connection.execute(select(tables.activities))}


def test_a_new_activity_is_fetched_stored_analysed_and_shown(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert location.strava.asked == ["/activities/1", "/activities/1/streams"]
    assert location.lanes == [Lane.LIVE]
    assert {name: observed(location, name) for name in HISTORY_ASSETS} == {name: {JUNE} for name in HISTORY_ASSETS}
    with engine.connect() as connection:
        assert connection.execute(select(analysis_tables.route_analyses.c.distance_m)).scalar_one() == 15.0


def test_a_month_that_was_never_imported_does_not_look_complete(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    assert location.materialized("activities") == set()
    assert location.materialize(activities, partition_key=JUNE).success
    store(engine, 1, aspect_type="update")
    assert work_off(location, engine).success
    shown = location.instance.fetch_materializations(key_of("activities"), limit=10).records
    assert [record.partition_key for record in shown] == [JUNE, JUNE]
    assert location.materialized("activity_details") == set()


def test_an_update_replaces_what_is_stored_and_leaves_the_samples_alone(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    location.strava.new_requests()
    location.strava.edit(1, name="Renamed")
    store(engine, 1, aspect_type="update", updates={"title": "Renamed"}, signed=False)
    assert work_off(location, engine).success
    assert names(engine) == {1: "Renamed"}
    assert location.strava.new_requests() == ["/activities/1"]


def test_a_deletion_is_confirmed_before_anything_is_erased(location: CodeLocation, engine: Engine) -> None:
    for number in (1, 2):
        location.strava.add(number, AT)
        store(engine, number)
    assert work_off(location, engine).success
    location.strava.delete(1)
    store(engine, 1, 2, aspect_type="delete")
    assert work_off(location, engine).success
    assert names(engine) == {2: "Ride 2"}
    assert set(states(engine)) == {"done"}
    with engine.connect() as connection:
        stone = connection.execute(select(tombstones)).one()
    assert (stone.activity_id, stone.athlete_id, stone.reason) == (1, RIDER, "deleted at Strava")


def test_a_deletion_in_the_name_of_another_athlete_erases_nothing(location: CodeLocation, engine: Engine) -> None:
    connect_riders(engine, 1002)
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    # The other athlete cannot see it: to them Strava says that it is not there.
    location.strava.delete(1)
    store(engine, 1, aspect_type="delete", owner_id=1002)
    assert work_off(location, engine).success
    assert names(engine) == {1: "Ride 1"}
    with engine.connect() as connection:
        assert connection.execute(select(tombstones)).all() == []


def test_an_activity_of_another_athlete_is_not_stored(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT, athlete={"id": 1002})
    store(engine, 1)
    assert not work_off(location, engine).success
    assert (row(engine).state, row(engine).error_class) == ("dead", "permanent")
    assert names(engine) == {}


def test_dagster_executes_no_run_again_for_a_dead_letter_and_one_that_crashed_from_its_first_step(
    location: CodeLocation, persistent: dg.DagsterInstance, engine: Engine
) -> None:
    """A host's Dagster retries failed runs, mostly from the step that failed: nothing is stored between steps."""
    location.strava.add(1, AT, athlete={"id": 1002})
    store(engine, 1)
    assert not work_off(replace(location, instance=persistent), engine).success
    (ended,) = persistent.get_runs()
    assert ended.tags["dagster/will_retry"] == "false"
    assert get_reexecution_strategy(ended, persistent) is ReexecutionStrategy.ALL_STEPS

    location.strava.add(2, AT)
    store(engine, 2)
    fences = claim(engine)
    assert claims.begin_run(engine, fences, "one that crashed")
    assert run(location, fences).success
    assert states(engine) == ["dead", "done"]


def test_a_deletion_of_what_was_never_stored_is_done(location: CodeLocation, engine: Engine) -> None:
    store(engine, 1, aspect_type="delete")
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert observed(location, "activities") == set()
    # And the creation that comes too late finds the tombstone.
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["done", "done"]


def test_an_activity_that_is_not_there_yet_is_waited_for_and_then_dies(location: CodeLocation, engine: Engine) -> None:
    store(engine, 99)
    for waits in (1, 2, 3):
        assert work_off(location, engine).success
        stored = row(engine)
        assert (stored.state, stored.waiting_for, stored.waits, stored.attempts) == ("waiting", "activity", waits, 0)
        change(engine, not_before=LONG_AGO)
    assert not work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.error_class, stored.attempts) == ("dead", "transient", 1)
    assert "/activities/99" in stored.error


def test_streams_that_are_not_ready_are_waited_for_without_asking_for_the_rest_again(
    location: CodeLocation, engine: Engine
) -> None:
    location.strava.add(1, AT, has_heartrate=True)
    samples, location.strava.streams[1] = location.strava.streams[1], {}
    store(engine, 1)
    assert work_off(location, engine).success
    assert (row(engine).state, row(engine).waiting_for) == ("waiting", "streams")
    assert names(engine) == {1: "Ride 1"}
    location.strava.new_requests()
    location.strava.streams[1] = samples
    change(engine, not_before=LONG_AGO)
    assert work_off(location, engine).success
    assert location.strava.new_requests() == ["/activities/1/streams"]
    assert states(engine) == ["done"]
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(analysis_tables.route_analyses)).scalar_one() == 1


def test_samples_that_never_come_are_waited_for_a_day(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT, has_heartrate=True)
    location.strava.streams[1] = {}
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["waiting"]
    change(engine, not_before=LONG_AGO, received_at=datetime.now(UTC) - READY_WITHIN)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]


def test_an_indoor_activity_without_samples_is_done(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT, trainer=True)
    location.strava.streams[1] = {}
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]


def test_one_objects_dead_letter_does_not_stop_the_others(location: CodeLocation, engine: Engine) -> None:
    for number in (1, 2, 3):
        location.strava.add(number, AT)
    del location.strava.activities[2]["start_date"]
    store(engine, 1, 2, 3)
    assert not work_off(location, engine).success
    assert states(engine) == ["done", "dead", "done"]
    assert rows(engine)[1].error_class == "permanent"
    assert names(engine) == {1: "Ride 1", 3: "Ride 3"}


def test_events_of_an_athlete_without_a_grant_are_parked(location: CodeLocation, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(state="needs_reauth"))
    location.strava.faults["/activities/1"] = [NeedsReauthorization("connect again")]
    store(engine, 1)
    assert work_off(location, engine).success
    assert (row(engine).state, row(engine).error, row(engine).attempts) == ("parked", "connect again", 0)


def test_a_refused_token_of_a_good_grant_is_tried_again(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    location.strava.faults["/activities/1"] = [NeedsReauthorization("401", status=401)]
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]


def test_a_used_up_quota_makes_the_event_wait(location: CodeLocation, engine: Engine) -> None:
    retry_at = datetime.now(UTC) + timedelta(hours=3)
    location.strava.faults["/activities/1"] = [QuotaExhausted("used up", retry_at=retry_at)]
    store(engine, 1)
    assert work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.not_before, stored.waiting_for, stored.attempts) == ("waiting", retry_at, "quota", 0)


def test_an_app_that_is_switched_off_makes_the_event_wait(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/1"] = [AppInactive("its owner needs a subscription")]
    store(engine, 1)
    assert work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts) == ("waiting", "app", 0)
    assert stored.not_before > datetime.now(UTC) + timedelta(minutes=50)


def test_events_of_an_app_that_is_off_wait_for_the_next_probe(location: CodeLocation, engine: Engine) -> None:
    until = datetime.now(UTC) + timedelta(minutes=7)
    location.strava.faults["/activities/1"] = [AppInactive("its owner needs a subscription", retry_at=until)]
    store(engine, 1)
    assert work_off(location, engine).success
    assert (row(engine).waiting_for, row(engine).not_before) == ("app", until)


def test_refused_credentials_of_the_app_make_the_event_wait(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/1"] = [ClientRefused("Strava refuses STRAVA_CLIENT_SECRET", status=401)]
    store(engine, 1)
    assert work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts) == ("waiting", "strava", 0)
    assert location.strava.asked == ["/activities/1"]


def test_a_fault_that_passes_is_retried_under_the_same_claim(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    location.strava.faults["/activities/1"] = [RetriableStravaError("no connection")]
    store(engine, 1)
    (fence,) = claim(engine)
    assert run(location, [fence]).success
    assert (row(engine).state, row(engine).fence) == ("done", fence)


def test_a_fault_that_does_not_pass_is_retried_after_1_2_and_4_seconds_and_then_dies(
    location: CodeLocation, engine: Engine
) -> None:
    location.strava.faults["/activities/1"] = [RetriableStravaError("Strava answered 502", status=502)] * 4
    store(engine, 1)
    result = work_off(location, engine)
    assert not result.success
    waits = [
        event.step_retry_data.seconds_to_wait
        for event in result.all_events
        if event.event_type_value == "STEP_UP_FOR_RETRY"
    ]
    assert waits == [1, 2, 4]
    stored = row(engine)
    assert (stored.state, stored.error_class, stored.error_kind) == ("dead", "transient", "RetriableStravaError")
    assert location.strava.asked == ["/activities/1"] * 4


def set_database(admin_engine: Engine, change: str) -> None:
    """Change a setting of the database, and end its sessions, so that it holds for all."""
    with autocommit(admin_engine) as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} {change}"))
    end_sessions(admin_engine)
    admin_engine.dispose()


def test_an_event_waits_while_nothing_can_be_written(
    location: CodeLocation, engine: Engine, admin_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_database_that_refuses(sync: SyncContext, claim: Claim) -> SyncResult:
        set_database(admin_engine, "SET default_transaction_read_only = on")
        sync.engine.dispose()  # a connection that was used just now would tell of its end instead
        try:
            return sync_activity(sync, claim)
        finally:
            set_database(admin_engine, "RESET default_transaction_read_only")

    location.strava.add(1, AT)
    store(engine, 1)
    with monkeypatch.context() as patch:
        patch.setattr("strava_pipeline.defs.attempts.MAX_RETRIES", 0)
        patch.setattr("strava_pipeline.sync.claims_at_work.sync_activity", with_a_database_that_refuses)
        assert work_off(location, engine).success
    engine.dispose()  # this test's own, whose sessions were ended, too
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts) == ("waiting", "database", 0)
    assert "accepts no writes" in stored.error
    change(engine, not_before=LONG_AGO)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]


def test_an_event_whose_run_could_write_nothing_at_all_is_claimed_again(
    location: CodeLocation, engine: Engine, admin_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strava_pipeline.defs.attempts.MAX_RETRIES", 0)
    location.strava.add(1, AT)
    store(engine, 1)
    fences = claim(engine)
    set_database(admin_engine, "SET default_transaction_read_only = on")
    assert not run(location, fences).success
    set_database(admin_engine, "RESET default_transaction_read_only")
    engine.dispose()
    assert (row(engine).state, row(engine).attempts) == ("launched", 0)
    change(engine, lease_until=LONG_AGO)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]


@pytest.mark.parametrize(
    ("error", "state"), [(DatabaseUnavailable("it is away"), "waiting"), (DatabaseTooSlow("a lock"), "dead")], ids=repr
)
def test_only_what_takes_the_database_too_long_may_be_an_events_fault(
    engine: Engine, error: DatabaseUnavailable, state: str
) -> None:
    store(engine, 1)
    settle_failure(engine, claim_one(engine), error, may_retry=False)
    stored = row(engine)
    assert (stored.state, stored.error_class) == (state, "transient" if state == "dead" else None)


def test_a_database_that_is_away_while_an_event_is_given_up_is_tried_again(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark_dead, tries = claims.mark_dead, itertools.count()

    def away_once(*arguments: Any, **named: Any) -> None:
        if next(tries) == 0:
            raise DatabaseUnavailable("the database is away")
        mark_dead(*arguments, **named)

    monkeypatch.setattr(claims, "mark_dead", away_once)
    location.strava.add(1, AT, athlete={"id": 1002})
    store(engine, 1)
    assert not work_off(location, engine).success
    assert (row(engine).state, row(engine).error_class) == ("dead", "permanent")
    assert next(tries) == 2


def test_an_event_in_an_outage_waits_and_costs_no_attempt(location: CodeLocation, engine: Engine) -> None:
    until = datetime.now(UTC) + timedelta(minutes=4)
    location.strava.faults["/activities/1"] = [StravaAway("Strava does not answer", since=AT, retry_at=until)]
    store(engine, 1)
    assert work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts, stored.lost_runs) == ("waiting", "outage", 0, 0)
    assert stored.not_before == until
    assert location.strava.asked == ["/activities/1"]


def test_an_event_waits_before_anybody_knows_of_an_outage(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/activities/1"] = [StravaAway("no connection", since=None, retry_at=None)]
    store(engine, 1)
    assert work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.waiting_for, stored.attempts) == ("waiting", "strava", 0)
    assert stored.not_before > datetime.now(UTC) + timedelta(seconds=50)


def test_an_activity_that_strava_does_not_answer_for_is_a_dead_letter_that_is_redriven(
    location: CodeLocation, engine: Engine
) -> None:
    location.strava.faults["/activities/1"] = [NotAnswered("Strava answered 500", status=500)]
    store(engine, 1)
    assert not work_off(location, engine).success
    stored = row(engine)
    assert (stored.state, stored.error_class, stored.error_kind) == ("dead", "transient", "NotAnswered")
    assert stored.redrive_at is not None
    assert location.strava.asked == ["/activities/1"]


def test_a_database_that_starts_anew_after_the_last_write_fails_no_run(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(sync: SyncContext, claim: Claim) -> SyncResult:
        effect = sync_activity(sync, claim)
        end_sessions(engine)
        engine.dispose()  # this test's own, which it looks by afterwards; the run has another
        return effect

    monkeypatch.setattr("strava_pipeline.sync.claims_at_work.sync_activity", written)
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert observed(location, "activities") == {JUNE}


def test_an_athlete_who_goes_after_the_last_write_does_not_come_back_to_dagster(
    location: CodeLocation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(sync: SyncContext, claim: Claim) -> SyncResult:
        effect = sync_activity(sync, claim)
        disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
        unregister_athlete(location.instance, NAMES, RIDER)
        return effect

    monkeypatch.setattr("strava_pipeline.sync.claims_at_work.sync_activity", written)
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    assert not location.instance.has_dynamic_partition(NAMES.partition_set, str(RIDER))
    assert observed(location, "activities") == set()


def test_an_athlete_whom_dagster_does_not_know_yet_gets_partitions(location: CodeLocation, engine: Engine) -> None:
    unregister_athlete(location.instance, NAMES, RIDER)
    location.strava.add(1, AT)
    store(engine, 1)
    assert work_off(location, engine).success
    assert location.instance.has_dynamic_partition(NAMES.partition_set, str(RIDER))
    assert observed(location, "activities") == {JUNE}


def test_a_claim_that_no_longer_holds_does_nothing(location: CodeLocation, engine: Engine) -> None:
    location.strava.add(1, AT)
    store(engine, 1)
    old = claim(engine)
    change(engine, lease_until=LONG_AGO)
    new = claim(engine)
    assert run(location, old).success
    assert location.strava.asked == []
    assert states(engine) == ["launched"]
    assert run(location, new).success
    assert states(engine) == ["done"]
    # The same run once more, as a launch whose answer was lost would have it.
    location.strava.new_requests()
    assert run(location, new).success
    assert location.strava.new_requests() == []


def test_an_error_nobody_thought_of_makes_a_dead_letter_without_telling_what_it_holds(
    location: CodeLocation, engine: Engine
) -> None:
    for number in (1, 2):
        location.strava.add(number, AT)
    location.strava.faults["/activities/1"] = [ZeroDivisionError("of a title that is nobody's business")]
    store(engine, 1, 2)
    assert not work_off(location, engine).success
    assert states(engine) == ["dead", "done"]
    letter = rows(engine)[0]
    assert (letter.error_class, letter.error_kind) == ("permanent", "ZeroDivisionError")
    assert "nobody's business" not in letter.error
